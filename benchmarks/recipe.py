# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Many small trainings, for "The recipe" in docs/results.md: ``python benchmarks/recipe.py QUEUE --work DIR``.

The queue is a text file with a run a line, ``key=value`` pairs, ``#`` starts a comment; it is read again after every
run, so that lines may be added while it works. ``seed=0,1,2`` (any value with commas) stands for one run each. A run
whose checkpoint is there is not done again, one that was killed starts anew, and several processes may share a queue::

    set=partshapes seed=0,1,2                               # plain CAM
    set=partshapes seed=0,1,2 pooling=1 lambda=0.3 aux=0.5  # entropy pooling, the regulariser, half of the loss on GAP
    set=photographs init=pretrained epochs=3 lr=0.02 seed=0 pooling=1

Models, losses and schedule are those of ``configs/demo`` and ``configs/wsol/resnet18_tinyimagenet.py``, narrow as in
the demo; only the loop is a plain one, over images that lie in memory. With ``bfloat16=1`` the backbone runs under
autocast; neck, head and loss stay in float32.

Two folds keep what is chosen apart from what is reported. ``fold=report``: the first 20 classes of the photographs,
pretrained on the other 30; PartShapes as configured (seed 0). ``fold=select``: classes 21 to 40, pretrained on the
others; PartShapes of another seed. ``recipe_figures.py`` evaluates the checkpoints.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmpretrain.structures import DataSample
from torch import Tensor, nn

import mmentropy.datasets
import mmentropy.models  # noqa: F401
from mmentropy.registry import DATASETS, MODELS
from mmentropy.safe_files import written_whole

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    'partshapes': ROOT / 'configs/demo/resnet18_partshapes.py',
    'photographs': ROOT / 'configs/wsol/resnet18_tinyimagenet.py',
}
SETS = (*CONFIGS, 'source')
FOLDS = {'report': 0, 'select': 1}
#: Classes of the photographs in each fold that the tables speak of; the others are its ``source``, for pretraining.
TARGETS = {'report': range(20), 'select': range(20, 40)}


@dataclass(frozen=True)
class Run:
    """One training; the keys of a queue line.

    Attributes:
        set: ``partshapes``, ``photographs`` (a fold's 20 classes), or ``source`` (its other classes).
        fold: ``report`` or ``select``.
        seed: of weights, order and crops.
        pooling: entropy pooling instead of GAP.
        temperature, mapping, mix, detach: of the pooling.
        lambda_: of ``EntropyRegularizedLoss``; 0 is the host's cross-entropy.
        reduction: of the regulariser over the classes.
        aux: share of the loss on GAP features.
        from_epoch: entropy pooling from this epoch on, GAP before it.
        strides: of the four stages, as digits: 1211 gives 8×8 maps of 64 pixels, 1111 16×16.
        lr, epochs, batch: of the schedule.
        init: ``scratch`` or ``pretrained`` (plain CAM on the fold's source classes, 6 epochs, with the same seed).
        head_lr: factor of the classifier's learning rate.
        bfloat16: whether the backbone runs under autocast.
    """

    set: str = 'partshapes'
    fold: str = 'report'
    seed: int = 0
    pooling: int = 0
    temperature: float = 1.0
    mapping: str = 'exp'
    mix: float = 0.0
    detach: int = 0
    lambda_: float = 0.0
    reduction: str = 'mean'
    aux: float = 0.0
    from_epoch: int = 0
    strides: str = '1211'
    lr: float = 0.1
    epochs: int = 8
    batch: int = 64
    init: str = 'scratch'
    head_lr: float = 1.0
    bfloat16: int = 1

    @property
    def name(self) -> str:
        """Set, fold and whatever differs from the defaults: the name of the checkpoint."""
        parts = [self.set, self.fold]
        for field in fields(self)[2:]:
            value = getattr(self, field.name)
            if value != field.default or field.name == 'seed':
                parts.append(
                    f'{field.name.rstrip("_")}={value:g}' if isinstance(value, float) else f'{field.name}={value}'
                )
        return '-'.join(parts)

    @property
    def source(self) -> Run | None:
        """The run whose backbone this one starts from."""
        if self.init == 'scratch':
            return None
        return Run(set='source', fold=self.fold, seed=self.seed, strides=self.strides, epochs=6, bfloat16=self.bfloat16)


def parse(line: str) -> list[Run]:
    """The runs of a queue line.

    Raises:
        ValueError: for an unknown key, or a value that does not fit it.
    """
    known = {field.name.rstrip('_'): field for field in fields(Run)}
    choices: dict[str, list] = {}
    for word in line.split('#')[0].split():
        key, _, values = word.partition('=')
        if key not in known:
            raise ValueError(f'{word!r}: a run has the keys {sorted(known)}, not {key!r}')
        field = known[key]
        choices[field.name] = [type(field.default)(value) for value in values.split(',')]
    runs = [Run(**dict(zip(choices, values))) for values in itertools.product(*choices.values())] if choices else []
    for run in runs:
        if run.set not in SETS or run.fold not in FOLDS or run.init not in ('scratch', 'pretrained'):
            raise ValueError(
                f'{line.strip()!r}: set is one of {SETS}, fold of {list(FOLDS)}, init scratch or pretrained'
            )
    return runs


@dataclass
class Images:
    """A split in memory: RGB images (N, 3, H, W) uint8, labels (N,), boxes (N, 4), masks (N, H, W) bool or None."""

    images: Tensor
    labels: Tensor
    boxes: np.ndarray
    masks: np.ndarray | None = None


def load_images(set_: str, fold: str, split: str, args: argparse.Namespace) -> Images:
    """A split, drawn or decoded once and kept under ``--work``; ``split`` is ``train``, ``val`` or ``mosaics``."""
    path = Path(args.work) / 'images' / f'{set_}-{fold}-{split}-{args.limit or "all"}.npz'
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset = DATASETS.build(dataset_config(set_, fold, split, args))
        indices = range(len(dataset))
        if args.limit:  # spread over the classes, which follow one another in the photographs
            indices = np.linspace(0, len(dataset) - 1, min(args.limit, len(dataset))).astype(int).tolist()
        samples = [dataset[i] for i in indices]
        arrays = {
            'images': np.stack([sample['img'][..., ::-1].transpose(2, 0, 1) for sample in samples]),
            'labels': np.array([sample['gt_label'] for sample in samples]),
            'boxes': np.stack([np.asarray(sample['gt_bboxes'], np.float32).reshape(-1, 4)[0] for sample in samples]),
        }
        if 'gt_mask' in samples[0]:
            arrays['masks'] = np.stack([sample['gt_mask'] > 0 for sample in samples])
        with written_whole(path) as part, open(part, 'wb') as file:
            np.savez(file, **arrays)
    with np.load(path) as file:
        masks = file.get('masks')
        return Images(torch.from_numpy(file['images']), torch.from_numpy(file['labels']), file['boxes'], masks)


def dataset_config(set_: str, fold: str, split: str, args: argparse.Namespace) -> dict:
    """The data set of the package's config, as far as this fold has it; images are decoded, not packed."""
    if set_ == 'partshapes':
        cfg = Config.fromfile(CONFIGS[set_])
        config = cfg.train_dataloader.dataset if split == 'train' else cfg.val_dataloader.dataset
        return dict(config, seed=FOLDS[fold], pipeline=[])
    names = (Path(args.data_root) / 'wnids.txt').read_text().split()
    classes = [name for i, name in enumerate(names) if (i in TARGETS[fold]) == (set_ == 'photographs')]
    config = dict(
        type='mmentropy.TinyImageNetLocalization',
        data_root=args.data_root,
        split='train' if split == 'train' else 'val',
        classes=classes,
        pipeline=[dict(type='mmpretrain.LoadImageFromFile')],
    )
    if split == 'mosaics':
        return dict(type='mmentropy.MosaicLocalization', dataset=config, grid=2, tile_size=64, pipeline=[])
    return config


def build_model(run: Run, num_classes: int) -> nn.Module:
    """The demo's narrow classifier with this run's neck, head and loss, its weights initialised."""
    model = Config.fromfile(CONFIGS['partshapes']).model
    model.backbone.strides = tuple(int(digit) for digit in run.strides)
    if run.pooling:
        model.neck = dict(
            type='mmentropy.EntropyPooling',
            mapping=run.mapping,
            temperature=run.temperature,
            mix=run.mix,
            detach=bool(run.detach),
        )
    model.head.auxiliary_gap = run.aux
    if run.lambda_:
        model.head.loss = dict(
            type='mmentropy.EntropyRegularizedLoss', lambda_=run.lambda_, class_reduction=run.reduction
        )
    model.data_preprocessor = dict(num_classes=num_classes)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        network = MODELS.build(model)
        network.init_weights()
    return network.to(memory_format=torch.channels_last)


class Normalize:
    """uint8 images to the network's inputs, by the data preprocessor of the set's config."""

    def __init__(self, set_: str) -> None:
        settings = Config.fromfile(CONFIGS.get(set_, CONFIGS['photographs'])).data_preprocessor
        self.mean, self.std = (
            torch.tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (settings.mean, settings.std)
        )

    def __call__(self, images: Tensor) -> Tensor:
        return ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def augmented_batches(data: Images, run: Run, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of the configs' augmentation: random crops of the padded image, half of the photographs mirrored."""
    size = data.images.shape[-1]
    mode = 'reflect' if run.set == 'partshapes' else 'constant'
    for index in torch.randperm(len(data.images), generator=generator).split(run.batch):
        batch = nn.functional.pad(data.images[index].float(), (4, 4, 4, 4), mode=mode)
        corners = torch.randint(0, 9, (len(index), 2), generator=generator).tolist()
        mirrored = (torch.rand(len(index), generator=generator) < 0.5).tolist()
        crops = [image[:, y : y + size, x : x + size] for image, (y, x) in zip(batch, corners)]
        if run.set != 'partshapes':
            crops = [crop.flip(-1) if mirror else crop for crop, mirror in zip(crops, mirrored)]
        yield torch.stack(crops), data.labels[index]


def schedulers(run: Run, optimizer: torch.optim.Optimizer, steps: int) -> list:
    """The schedulers of the config, a step an iteration."""
    found = []
    for config in Config.fromfile(CONFIGS['partshapes']).param_scheduler:
        config = {'end': run.epochs, **config}
        if config.pop('convert_to_iter_based', False):
            kind = PARAM_SCHEDULERS.get(config.pop('type'))
            found.append(kind.build_iter_from_epoch(optimizer=optimizer, epoch_length=steps, **config))
    return found


def train(run: Run, args: argparse.Namespace) -> dict[str, Any]:
    """Train one run and write its checkpoint; the run that it starts from comes first.

    Returns:
        the entry of ``runs.jsonl``.
    """
    data = load_images(run.set, run.fold, 'train', args)
    classes = int(data.labels.max()) + 1
    torch.manual_seed(run.seed)
    model, normalize = build_model(run, classes), Normalize(run.set)
    if run.source is not None:
        if not checkpoint(run.source, args).exists():
            work_on(run.source, args)
        weights = torch.load(checkpoint(run.source, args), weights_only=True)['state_dict']
        kept = {key: value for key, value in weights.items() if key.startswith('backbone.')}
        model.load_state_dict({**model.state_dict(), **kept})
    settings = dict(Config.fromfile(CONFIGS['partshapes']).optim_wrapper.optimizer, lr=run.lr)
    kind = getattr(torch.optim, settings.pop('type'))
    head = list(model.head.parameters())
    trunk = [parameter for name, parameter in model.named_parameters() if not name.startswith('head.')]
    trunk = [parameter for parameter in trunk if not any(parameter is other for other in head)]
    optimizer = kind([dict(params=trunk), dict(params=head, lr=run.lr * run.head_lr)], **settings)
    steps = -(-len(data.images) // run.batch)
    schedule = schedulers(run, optimizer, steps)
    generator = torch.Generator().manual_seed(run.seed)
    pooling, started, losses = model.neck, time.process_time(), []
    run_in_bfloat16(model, bool(run.bfloat16))
    for epoch in range(run.epochs):
        model.train()
        model.neck = pooling if epoch >= run.from_epoch else MODELS.build(dict(type='mmpretrain.GlobalAveragePooling'))
        total = 0.0
        for images, labels in augmented_batches(data, run, generator):
            samples = [DataSample().set_gt_label(label) for label in labels]
            loss = model(normalize(images), samples, mode='loss')['loss']
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            for scheduler in schedule:
                scheduler.step()
            total += loss.item() / steps
        if not np.isfinite(total):
            raise ValueError(f'{run.name}: the loss is {total} in epoch {epoch + 1}')
        losses.append(round(total, 4))
    model.neck = pooling
    entry = dict(name=run.name, run=vars(run), losses=losses, seconds=round(time.process_time() - started, 1))
    checkpoint(run, args).parent.mkdir(parents=True, exist_ok=True)
    with written_whole(checkpoint(run, args)) as part:
        torch.save(dict(entry, num_classes=classes, state_dict=model.state_dict()), part)
    return entry


def run_in_bfloat16(model: nn.Module, enabled: bool) -> None:
    """Put the backbone alone under autocast; what it hands on is float32."""
    forward = model.backbone.forward

    def low_precision(inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            return tuple(feature.float() for feature in forward(inputs))

    model.backbone.forward = low_precision


def checkpoint(run: Run, args: argparse.Namespace) -> Path:
    """Where a run's weights lie."""
    return Path(args.work) / 'checkpoints' / f'{run.name}.pth'


def work_on(run: Run, args: argparse.Namespace) -> bool:
    """Do a run unless it is done or another process is at it; whether it was done here."""
    claim = checkpoint(run, args).with_suffix('.claim')
    claim.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint(run, args).exists() or not taken(claim):
        return False
    try:
        entry = train(run, args)
        with open(Path(args.work) / 'runs.jsonl', 'a') as file:
            file.write(json.dumps(entry) + '\n')
        print(f'{run.name}: {entry["losses"][-1]} after {entry["seconds"]} s', flush=True)
    finally:
        claim.unlink(missing_ok=True)
    return True


def taken(claim: Path) -> bool:
    """Claim a run; a claim whose process is gone is taken over."""
    try:
        with open(claim, 'x') as file:
            file.write(str(os.getpid()))
        return True
    except FileExistsError:
        if is_alive(claim):
            return False
        claim.write_text(str(os.getpid()))
        return True


def queued(queue: Path) -> list[Run]:
    """All runs of the queue, in order."""
    return [run for line in queue.read_text().splitlines() for run in parse(line)]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('queue', type=Path, help='text file, a run a line')
    add_data_arguments(parser)
    return parser.parse_args()


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """What training and evaluation have in common."""
    parser.add_argument(
        '--data-root', default='data/tiny-imagenet-50', help='the photographs (50 classes of Tiny ImageNet)'
    )
    parser.add_argument('--work', default='work_dirs/recipe', help='images, checkpoints and figures')
    parser.add_argument('--limit', type=int, default=0, help='images a split, for a try; 0 takes all')
    parser.add_argument('--threads', type=int, default=1)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    MMLogger.get_current_instance().setLevel('WARNING')  # init_weights tells of every tensor
    while (run := next_run(args)) is not None:
        work_on(run, args)


def next_run(args: argparse.Namespace) -> Run | None:
    """The first run of the queue that is neither done nor another process's."""
    for run in queued(args.queue):
        claim = checkpoint(run, args).with_suffix('.claim')
        if not checkpoint(run, args).exists() and not (claim.exists() and is_alive(claim)):
            return run
    return None


def is_alive(claim: Path) -> bool:
    """Whether the process that wrote a claim still runs."""
    return Path(f'/proc/{claim.read_text()}').exists()


if __name__ == '__main__':
    main()
