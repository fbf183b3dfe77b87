# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the entropy costs, beside the same without it, in one run: ``python benchmarks/training.py``.

* ``step``: a training step of ResNet-50 at 224 pixels and 1000 classes with ``EntropyPooling`` and
  ``EntropyRegularizedLoss``, beside the host's classifier with global average pooling and cross-entropy.
* ``location``: location entropy of 21 841 classes in chunks, beside all logits at once.
* ``test``: ``tools/test.py`` with all metrics of localisation, beside the accuracy alone.
* ``import``: ``import mmentropy``, beside an interpreter that imports nothing.

The two of a pair take turns, in alternating order. Figures are medians over the rounds of the ratio within a round, by
processor time where one thread does the work (others at work on the machine hardly count), by the clock otherwise.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from measure import Row, interleaved, load_average, paired_ratio, peak_bytes, save_rows
from rich.console import Console
from rich.table import Table
from torch.nn.functional import linear

ROOT = Path(__file__).resolve().parents[1]
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
CHANNELS, CLASSES, MANY_CLASSES = 2048, 1000, 21_841
# Strides of ResNet-50's stages (7×7 or 28×28 maps at 224 pixels) → targets of time and of peak memory.
TARGETS = {(1, 2, 2, 2): ('≤ 1.03', '≤ 1.02'), (1, 2, 1, 1): ('≤ 1.10', '≤ 1.10')}
GPU_TARGETS = {(1, 2, 2, 2): ('≤ 1.02', '≤ 1.02'), (1, 2, 1, 1): ('≤ 1.10', '≤ 1.10')}


def classifier(strides: tuple[int, ...], **parts: dict | str) -> torch.nn.Module:
    """A ResNet-50 classifier with the same random weights for all."""
    from mmengine.registry import DefaultScope

    import mmentropy.models  # noqa: F401
    from mmentropy.registry import MODELS

    torch.manual_seed(0)
    backbone = dict(type='mmpretrain.ResNet', depth=50, strides=strides)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(dict(backbone=backbone, **parts)).to(DEVICE)


def training_step(model: torch.nn.Module, images: torch.Tensor) -> Callable[[], None]:
    """Forward, backward and a step of SGD with momentum."""
    from mmpretrain.structures import DataSample

    samples = [DataSample().set_gt_label(i).to(DEVICE) for i in range(len(images))]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    model.train()

    def step() -> None:
        model(images, samples, mode='loss')['loss'].backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def multiplications(model: torch.nn.Module, images: torch.Tensor) -> int:
    """Multiplications of the convolutions of one forward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.backbone(images[:1])
    return counter.get_total_flops() // 2


def step_rows(args: argparse.Namespace) -> list[Row]:
    """Time and memory of a training step at 7×7 and at 28×28 maps, with and without gradients through the weights."""
    rows = []
    er = dict(type='mmentropy.EntropyRegularizedLoss')
    for strides, batch in (((1, 2, 2, 2), args.batch), ((1, 2, 1, 1), max(1, args.batch // 2))):
        images = torch.randn(batch, 3, args.size, args.size, device=DEVICE)
        host = classifier(
            strides,
            type='mmpretrain.ImageClassifier',
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=CLASSES, in_channels=CHANNELS),
        )
        steps, memory = {'host': training_step(host, images)}, {}
        for detach in (False, True):
            ours = classifier(
                strides,
                type='mmentropy.LocalizationClassifier',
                neck=dict(type='mmentropy.EntropyPooling', detach=detach),
                head=dict(type='mmentropy.CAMHead', num_classes=CLASSES, loss=er),
            )
            steps['detached' if detach else 'ours'] = training_step(ours, images)
        for name, step in steps.items():
            step()
            memory[name] = peak_bytes(step)
        times = interleaved(steps, args.rounds if strides[2] == 2 else max(1, args.rounds // 2))
        side = args.size // (32 if strides[2] == 2 else 8)
        # One product forward, two backward; three times the backbone's forward pass stands for the step without them.
        share = side**2 * CHANNELS * CLASSES / multiplications(host, images)
        time_target, memory_target = (TARGETS if DEVICE == 'cpu' else GPU_TARGETS)[strides]
        for name, label in (('ours', ''), ('detached', ', detached weights')):
            own = share if name == 'ours' else share / 3
            kind = 'wall' if DEVICE == 'cuda' else 'cpu'
            ratio = paired_ratio(getattr(times[name], kind), getattr(times['host'], kind))
            wall = paired_ratio(times[name].wall, times['host'].wall)
            where = f'{side}×{side} maps, batch {batch}{label}'
            seconds = {key: statistics.median(getattr(times[key], kind)) for key in (name, 'host')}
            note = f'{wall:.3f} by the clock; arithmetic’s own share {100 * own:.1f} %'
            values = f'{seconds[name]:.3f} s', 'GAP + cross-entropy', f'{seconds["host"]:.3f} s'
            rows.append(Row(f'training step, {where}', *values, ratio, target=time_target, note=note))
            if strides[2] == 1 and name == 'ours':
                note = 'target: 1 + share of the arithmetic + 3 %'
                rows.append(
                    Row('the same, against its arithmetic', *values, ratio, target=f'≤ {1.03 + own:.3f}', note=note)
                )
            values = f'{memory[name] / 2**20:.0f} MiB', 'GAP + cross-entropy', f'{memory["host"] / 2**20:.0f} MiB'
            note = 'over weights and momentum'
            rows.append(
                Row(f'peak memory, {where}', *values, memory[name] / memory['host'], target=memory_target, note=note)
            )
    return rows


def location_rows(args: argparse.Namespace) -> list[Row]:
    """Location entropy of 21 841 classes, forward alone and with backward, beside all logits at once."""
    from mmentropy.ops.certainty.entropy import location_entropy, softmax_entropy

    rows = []
    torch.manual_seed(0)
    features = torch.randn(args.images, CHANNELS, args.side, args.side, device=DEVICE)
    weight = (0.02 * torch.randn(MANY_CLASSES, CHANNELS, device=DEVICE)).requires_grad_()
    bias = torch.zeros(MANY_CLASSES, device=DEVICE, requires_grad=True)
    features.requires_grad_()
    logits_bytes = 4 * args.images * args.side**2 * MANY_CLASSES
    inputs = features, weight, bias

    def materialised() -> torch.Tensor:
        return softmax_entropy(linear(features.permute(0, 2, 3, 1), weight, bias), -1)

    def chunked() -> torch.Tensor:
        return location_entropy(*inputs, chunk_size=args.chunk_size)

    def without_gradient(job: Callable[[], torch.Tensor]) -> Callable[[], object]:
        return torch.no_grad()(job)

    def with_gradient(job: Callable[[], torch.Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(job().sum(), inputs)

    for label, wrap, kept in (
        ('forward', without_gradient, 0),
        ('forward and backward', with_gradient, sum(4 * tensor.numel() for tensor in inputs)),
    ):
        jobs = {'ours': wrap(chunked), 'materialised': wrap(materialised)}
        # The gradients themselves have to be there in the end, whoever computes them.
        memory = {name: peak_bytes(job) - kept for name, job in jobs.items()}
        times = interleaved(jobs, args.rounds // 2 or 1)
        kind = 'wall' if DEVICE == 'cuda' else 'cpu'
        ratio = paired_ratio(getattr(times['ours'], kind), getattr(times['materialised'], kind))
        seconds = [f'{statistics.median(getattr(times[name], kind)):.2f} s' for name in jobs]
        where = f'location entropy, {MANY_CLASSES} classes, {args.images} maps of {args.side}×{args.side}, {label}'
        wall = paired_ratio(times['ours'].wall, times['materialised'].wall)
        note = f'{wall:.2f} by the clock; chunks of {args.chunk_size} classes'
        rows.append(
            Row(f'{where}: time', seconds[0], 'all logits at once', seconds[1], ratio, target='≤ 1.3', note=note)
        )
        size = f'{memory["ours"] / 2**20:.1f} MiB', 'one tensor of the logits', f'{logits_bytes / 2**20:.0f} MiB'
        note = f'all logits at once takes {memory["materialised"] / logits_bytes:.1f} such tensors'
        rows.append(Row(f'{where}: extra memory', *size, memory['ours'] / logits_bytes, target='≤ 0.125', note=note))
    return rows


TEST_CONFIG = """
_base_ = ['{root}/configs/_base_/models/{model}.py', '{root}/configs/_base_/datasets/partshapes.py',
          '{root}/configs/_base_/schedules/scratch_30e.py', '{root}/configs/_base_/default_runtime.py']
model = dict(backbone=dict(init_cfg=None))
"""


def test_rows(args: argparse.Namespace) -> list[Row]:
    """``tools/test.py`` on drawn images, whole processes, once with every metric and once with the accuracy alone."""
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    import mmentropy.models  # noqa: F401
    from mmentropy.registry import MODELS

    command = [sys.executable, str(ROOT / 'tools/test.py')]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = TEST_CONFIG.format(root=ROOT, model='resnet50_cam')
        (folder / 'all.py').write_text(config)
        (folder / 'accuracy.py').write_text(config + "test_evaluator = [dict(type='Accuracy', topk=(1, 5))]\n")
        cfg = Config.fromfile(folder / 'all.py')
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(dict(cfg.model, data_preprocessor=dict(num_classes=cfg.num_classes)))
        torch.save({'state_dict': model.state_dict()}, folder / 'model.pth')
        loader = 'test_dataloader'
        options = [f'{loader}.dataset.length={args.test_images}', f'{loader}.dataset.image_size={args.size}']
        options += [f'{loader}.batch_size=16', f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']

        def run(variant: str) -> tuple[float, float]:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = perf_counter()
            done = subprocess.run(
                [*command, str(folder / f'{variant}.py'), str(folder / 'model.pth')]
                + ['--work-dir', str(folder / 'work'), '--cfg-options', *options],
                capture_output=True,
                text=True,
                cwd=folder,
            )
            wall = perf_counter() - start
            if done.returncode:
                raise RuntimeError(f'tools/test.py ended with {done.returncode}: {done.stderr[-1000:]}')
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        times: dict[str, list[tuple[float, float]]] = {'all': [], 'accuracy': []}
        for number in range(args.test_rounds):
            for variant in list(times)[:: -1 if number % 2 else 1]:
                times[variant].append(run(variant))
    wall, cpu = (paired_ratio(*([t[i] for t in times[v]] for v in ('all', 'accuracy'))) for i in (0, 1))
    ours, plain = (f'{statistics.median(t[0] for t in times[v]):.1f} s' for v in ('all', 'accuracy'))
    what = f'tools/test.py, ResNet-50, {args.test_images} images of {args.size} pixels, all metrics'
    return [
        Row(what, ours, 'accuracy alone', plain, wall, target='≤ 1.2', note=f'wall time; {cpu:.2f} by processor time')
    ]


def import_rows(args: argparse.Namespace) -> list[Row]:
    """``import mmentropy`` in fresh interpreters, over what an empty program takes."""

    def run(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, '-c', code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    rounds = [(run('import mmentropy'), run('pass')) for _ in range(max(5, 2 * args.rounds))]
    ours, empty = (statistics.median(times) for times in zip(*rounds))
    extra = statistics.median(a - b for a, b in rounds)
    values = f'{ours:.0f} ms', 'python -c pass', f'{empty:.0f} ms'
    return [Row('import mmentropy', *values, extra, 'ms', '< 30', 'difference of processor times')]


PARTS = {'step': step_rows, 'location': location_rows, 'test': test_rows, 'import': import_rows}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', help=f'any of {", ".join(PARTS)}; all by default')
    parser.add_argument('--rounds', type=int, default=12, help='rounds of the training steps at 7×7; others do fewer')
    parser.add_argument('--batch', type=int, default=4 if DEVICE == 'cpu' else 64, help='images a training step')
    parser.add_argument('--size', type=int, default=224, help='side of the images')
    parser.add_argument('--images', type=int, default=8, help='feature maps of the location entropy')
    parser.add_argument('--side', type=int, default=14, help='side of those maps')
    parser.add_argument('--chunk-size', type=int, default=512, help='classes a chunk of the location entropy')
    parser.add_argument('--test-images', type=int, default=160)
    parser.add_argument('--test-rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=1, help='of torch; processor time is fair with 1 only')
    parser.add_argument('--json', type=Path, help='also write the rows there')
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f'unknown part {sorted(unknown)[0]!r}; known are {", ".join(PARTS)}')
    return args


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    os.environ['OMP_NUM_THREADS'] = str(args.threads)
    rows = []
    table = Table('what', 'ours', 'alternative', 'its value', 'ratio', 'target', 'met', 'note')
    for name in args.parts or PARTS:
        for row in PARTS[name](args):
            rows.append(row)
            figure = f'{row.figure:.3f}' if row.unit_of_figure == '×' else f'{row.figure:.1f} {row.unit_of_figure}'
            table.add_row(
                *(
                    row.what,
                    row.ours,
                    row.alternative,
                    row.alternative_value,
                    figure,
                    row.target or '',
                    row.met,
                    row.note,
                )
            )
        save_rows(rows, args.json)
    console = Console(width=180)
    console.print(table)
    console.print(f'{DEVICE}, {args.threads} thread(s), load at the end {load_average()}')


if __name__ == '__main__':
    main()
