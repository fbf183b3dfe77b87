# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Kill tools at random moments and write down what was left, what the second start did, and how it ended.

``python benchmarks/kills.py --out docs/kills.md`` makes the table of docs/howto/resume.md. Tools run in forked
processes, so that the hosts are imported once; ``dist_train.sh`` runs as it is.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = {'SIGKILL': signal.SIGKILL, 'SIGTERM': signal.SIGTERM}
#: Seconds after which a process counts as left behind.
STAYS = 20.0
IMAGES, PHOTOS = 900, 40


@dataclass
class Kill:
    """A row of the table."""

    process: str
    signal: str
    moment: str
    left: str = ''
    restart: str = ''
    end: str = ''


@dataclass
class Job:
    """A tool that can be killed and started again.

    Attributes:
        name: in the table.
        command: tool and arguments, for a folder of its own.
        moment: what it was doing, from the folder and its log.
        state: what a second start finds there.
        result: what must be the same in the end.
    """

    name: str
    command: Callable[[Path], list[str]]
    moment: Callable[[Path], str]
    state: Callable[[Path], str]
    result: Callable[[Path], object]


def tool(command: Sequence[str], log: Path) -> None:
    """The body of a process: a tool's main, in a session of its own."""
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1), os.dup2(file, 2)
    sys.argv = list(command)
    runpy.run_path(str(ROOT / command[0]), run_name='__main__')


def start(job: Job, folder: Path) -> multiprocessing.process.BaseProcess:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'log.txt').unlink(missing_ok=True)  # what it was doing is read from this start's own
    process = multiprocessing.get_context('fork').Process(target=tool, args=(job.command(folder), folder / 'log.txt'))
    process.start()
    return process


def session(leader: int) -> list[int]:
    """Living processes of a session, without its leader."""
    found = []
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit() and int(entry.name) != leader:
            try:
                fields = (entry / 'stat').read_text().rpartition(')')[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == leader and fields[0] != 'Z':
                found.append(int(entry.name))
    return found


def what_is_left(leader: int, folder: Path) -> str:
    """Processes, in seconds until they were gone, and unfinished files."""
    began, there = time.monotonic(), session(leader)
    number = len(there)
    while there and time.monotonic() - began < STAYS:
        time.sleep(0.02)
        there = session(leader)
    for pid in there:
        os.kill(pid, signal.SIGKILL)
    parts = len(list(folder.rglob('*.part')))
    if there:
        said = f'{len(there)} processes STAYED'
    elif number:
        said = f'{number} processes, gone in {time.monotonic() - began:.1f} s'
    else:
        said = 'no process'
    return said + (f', {parts} unfinished file(s)' if parts else '')


def whole(job: Job, folder: Path) -> tuple[float, object]:
    """Seconds and result of a run that is left alone."""
    began = time.monotonic()
    process = start(job, folder)
    process.join()
    if process.exitcode:
        raise RuntimeError(f'{job.name}: code {process.exitcode}, see {folder / "log.txt"}')
    return time.monotonic() - began, job.result(folder)


def kill_chain(job: Job, folder: Path, signals: Sequence[str], seconds: float, truth: object, rng: random.Random):
    """Start, kill, start again, …, and let the last one end; a row for each kill."""
    rows, todo = [], list(signals)
    number, open_rows = 0, []
    while todo:
        name, target = todo[0].split(':')
        process = start(job, folder)
        process.join(rng.uniform(0.15, 0.7) * seconds)
        children = session(process.pid)
        if process.exitcode is not None or (target == 'worker' and not children):
            if process.exitcode is not None:  # too late: that was the end of this chain, the rest is killed anew
                close(open_rows, process.exitcode == 0 and job.result(folder) == truth)
                number, open_rows = number + 1, []
                folder = folder.with_name(f'{folder.name.split("_")[0]}_{number}')
            else:
                process.kill(), process.join()
            continue
        moment = job.moment(folder)
        os.kill(process.pid if target == 'main' else rng.choice(children), NUMBERS[name])
        process.join(60)
        if process.exitcode is None:
            moment += ' (DID NOT END in 60 s)'
            process.kill(), process.join()
        whom = job.name if target == 'main' else f'{job.name}, one of its workers'
        row = Kill(whom, name, moment, f'code {process.exitcode}; {what_is_left(process.pid, folder)}')
        row.restart = job.state(folder)
        rows.append(row)
        open_rows.append(row)
        print(row, file=sys.stderr, flush=True)
        todo.pop(0)
    process = start(job, folder)
    process.join()
    close(open_rows, process.exitcode == 0 and job.result(folder) == truth)
    return rows


def close(rows: Sequence[Kill], same: bool) -> None:
    """How a chain of kills ended."""
    for row in rows:
        row.end = 'as if left alone' if same else 'OTHER'


def train_job(folder: Path, workers: int) -> Job:
    """train.py on 32-pixel scenes: three epochs of twelve iterations, a checkpoint every four."""
    from mmengine.config import Config

    cfg = Config.fromfile(str(ROOT / 'configs/demo/resnet18_partshapes_ent.py'))
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    crop, pack = cfg.train_pipeline
    cfg.train_dataloader.update(batch_size=4, num_workers=workers, persistent_workers=False)
    cfg.train_dataloader.dataset.update(length=48, image_size=32, pipeline=[dict(crop, crop_size=32), pack])
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
        loader.dataset.update(length=16, image_size=32)
    cfg.val_evaluator = cfg.test_evaluator = [dict(type='mmentropy.PixelLocalizationMetric', eval_size=32)]
    cfg.train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=4, max_keep_ckpts=2)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
    cfg.custom_hooks = [dict(type='mmentropy.EpochSeedHook')]
    config = folder / f'train{workers}.py'
    cfg.dump(config)

    def moment(place: Path) -> str:
        text = (place / 'log.txt').read_text(errors='replace') if (place / 'log.txt').is_file() else ''
        steps = re.findall(r'Epoch\((train|val)\)\s*\[\s*(\d+)\]\[\s*(\d+)/', text)
        return f'{steps[-1][0]}, epoch {steps[-1][1]}, step {steps[-1][2]}' if steps else 'starting'

    def state(place: Path) -> str:
        from mmentropy.engine.checkpoint import latest_whole

        last, skipped = latest_whole(place)
        said = 'begins' if last is None else f'goes on from {last.name}'
        return said + (f', passes over {len(skipped)}' if skipped else '')

    def result(place: Path) -> object:
        import torch

        weights = torch.load(place / 'iter_36.pth', weights_only=True)['state_dict']
        return {name: value.double().sum().item() for name, value in weights.items()}, [
            value.flatten().tolist() for value in weights.values()
        ]

    def command(place: Path) -> list[str]:
        return ['tools/train.py', str(config), '--work-dir', str(place), '--resume', '--verbose']

    return Job(f'train.py, {workers} data workers', command, moment, state, result)


def eval_job(folder: Path) -> Job:
    """eval_maps.py with two processes over rough maps."""
    import numpy as np

    rng = np.random.default_rng(0)
    (folder / 'maps').mkdir()
    (folder / 'meta').mkdir()
    rows = {name: [] for name in ('image_ids', 'class_labels', 'image_sizes', 'localization')}
    for i in range(IMAGES):
        np.save(folder / f'maps/{i}.npy', rng.random((28, 28), dtype=np.float32))
        rows['image_ids'].append(f'{i}.jpg')
        rows['class_labels'].append(f'{i}.jpg,{i % 10}')
        rows['image_sizes'].append(f'{i}.jpg,200,150')
        rows['localization'].append(f'{i}.jpg,{i % 50},{i % 40},{100 + i % 99},{80 + i % 69}')
    for name, lines in rows.items():
        (folder / f'meta/{name}.txt').write_text('\n'.join(lines))

    def done(place: Path) -> str:
        from mmentropy.safe_files import load_npz

        try:
            plain = json.loads(load_npz(place / 'out.json.state')['plain'].tobytes())
            return f'{plain["images"]} of {IMAGES} images done'
        except (FileNotFoundError, KeyError, ValueError):
            return 'nothing done'

    def command(place: Path) -> list[str]:
        options = ['--metadata', str(folder / 'meta'), '--jobs', '2', '--out', str(place / 'out.json')]
        return ['tools/eval_maps.py', str(folder / 'maps'), *options]

    return Job(
        'eval_maps.py, 2 jobs',
        command,
        done,
        lambda place: f'goes on: {done(place)}' if done(place) != 'nothing done' else 'begins',
        lambda place: (place / 'out.json').read_bytes(),
    )


def localize_job(folder: Path) -> Job:
    """localize.py over photographs of noise."""
    import numpy as np
    import torch
    from PIL import Image

    from mmentropy.engine.model_loading import load_model

    config = folder / 'net.py'
    config.write_text(
        "model = dict(type='mmpretrain.ImageClassifier',\n"
        "    backbone=dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8),\n"
        "    neck=dict(type='mmpretrain.GlobalAveragePooling'),\n"
        "    head=dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=64))\n"
        'data_preprocessor = dict(mean=[120] * 3, std=[60] * 3, to_rgb=True)\n'
    )
    torch.save(load_model(config, device='cpu', random_weights=True).model.state_dict(), folder / 'net.pth')
    (folder / 'photos').mkdir()
    rng = np.random.default_rng(0)
    for i in range(PHOTOS):
        Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)).save(folder / f'photos/{i}.png')

    def done(place: Path) -> str:
        return f'{len(list(place.glob("out/maps/*.npz")))} of {PHOTOS} photos done'

    def command(place: Path) -> list[str]:
        options = ['--weights', str(folder / 'net.pth'), '--input-size', '224', '--batch-size', '2', '--device', 'cpu']
        return ['tools/localize.py', str(config), str(folder / 'photos'), *options, '--out-dir', str(place / 'out')]

    def result(place: Path) -> object:
        return {str(p.relative_to(place)): p.read_bytes() for p in (place / 'out').rglob('*') if p.is_file()}

    return Job('localize.py', command, done, lambda place: f'goes on: {done(place)}', result)


def ranks_of(launcher: int) -> dict[int, int]:
    """Rank → process of a torchrun's children."""
    found = {}
    children = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(launcher)], capture_output=True, text=True)
    for pid in map(int, children.stdout.split()):
        named = dict(
            entry.split('=', 1) for entry in Path(f'/proc/{pid}/environ').read_text().split('\0') if '=' in entry
        )
        if 'RANK' in named:
            found[int(named['RANK'])] = pid
    return found


def kill_distributed(folder: Path, config: Path) -> list[Kill]:
    """dist_train.sh on two processes: each rank, and the launcher, which is asked and killed."""
    rows = []
    environment = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    for whom, name in ((1, 'SIGKILL'), (0, 'SIGKILL'), ('launcher', 'SIGKILL'), ('launcher', 'SIGTERM')):
        place = folder / 'dist'
        place.mkdir(exist_ok=True)
        log = place / 'log.txt'
        log.unlink(missing_ok=True)
        command = ['bash', 'tools/dist_train.sh', str(config), '2', '--work-dir', str(place), '--resume', '--verbose']
        command += ['--cfg-options', 'train_cfg.max_epochs=500', 'default_hooks.checkpoint.interval=20']
        with open(log, 'ab') as file:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
            )
        while process.poll() is None and log.read_text(errors='replace').count('Epoch(train)') < 12:
            time.sleep(0.2)
        resumed = re.findall(r'resumed epoch: (\d+), iter: (\d+)', log.read_text(errors='replace'))
        if rows:
            rows[-1].restart = f'goes on from iteration {resumed[-1][1]}' if resumed else 'begins'
            rows[-1].end = 'trains on'
        ranks = ranks_of(process.pid)
        began = time.monotonic()
        os.kill(process.pid if whom == 'launcher' else ranks[whom], NUMBERS[name])
        process.wait()
        left = [pid for pid in ranks.values() if Path(f'/proc/{pid}').exists()]
        while left and time.monotonic() - began < 3 * STAYS:
            time.sleep(0.05)
            left = [pid for pid in left if Path(f'/proc/{pid}').exists()]
        took = time.monotonic() - began
        said = f'{len(left)} ranks STAYED' if left else f'all ended in {took:.1f} s'
        row = Kill(f'dist_train.sh, {"rank " if whom != "launcher" else ""}{whom}', name, 'training', said)
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    from mmentropy.engine.checkpoint import latest_whole

    rows[-1].restart = f'would go on from {latest_whole(folder / "dist")[0].name}'
    rows[-1].end = 'not started again'
    return rows


def table(rows: Sequence[Kill]) -> str:
    """Markdown."""
    lines = ['| # | process | signal | when | left | second start | end |', '|---|---|---|---|---|---|---|']
    for number, row in enumerate(rows, start=1):
        cells = (row.process, row.signal, row.moment, row.left, row.restart, row.end)
        lines.append(f'| {number} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, help='Markdown file of the table')
    parser.add_argument('--seed', type=int, default=15)
    parser.add_argument('--times', type=int, default=1, help='factor on the number of kills')
    tools = ('train', 'eval_maps', 'localize', 'dist_train')
    parser.add_argument('--only', nargs='+', choices=tools, default=tools, help='these tools')
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    import mmpretrain.datasets
    import mmpretrain.evaluation
    import mmpretrain.models
    import mmpretrain.visualization  # noqa: F401
    import torch

    import mmentropy.apis
    import mmentropy.experiments.map_evaluation
    import mmentropy.models
    import mmentropy.visualization  # noqa: F401

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix='kills_'))
    rng = random.Random(args.seed)
    main_kills, main_asks, worker = 'SIGKILL:main', 'SIGTERM:main', 'SIGKILL:worker'
    plans: list[tuple[Job, list[list[str]]]] = []
    if 'train' in args.only:
        kills = [[main_kills] * 4, [main_kills, main_asks] * 2, [worker, main_kills, worker]]
        plans.append((train_job(folder, 2), kills))
        plans.append((train_job(folder, 0), [[main_kills] * 3, [main_asks, main_kills, main_asks]]))
    if 'eval_maps' in args.only:
        plans.append((eval_job(folder), [[main_kills] * 4, [main_asks, main_kills] * 2, [worker] * 3]))
    if 'localize' in args.only:
        plans.append((localize_job(folder), [[main_kills] * 4, [main_asks, main_kills] * 2]))
    rows: list[Kill] = []
    for number, (job, chains) in enumerate(plans):
        seconds, truth = whole(job, folder / f'whole{number}')
        print(f'{job.name}: {seconds:.1f} s when left alone', file=sys.stderr, flush=True)
        for link, signals in enumerate(chains * args.times):
            rows += kill_chain(job, folder / f'broken{number}-{link}', signals, seconds, truth, rng)
            if args.out:
                args.out.write_text(table(rows), encoding='utf-8')
    if 'dist_train' in args.only:
        if 'train' not in args.only:
            train_job(folder, 0)
        rows += kill_distributed(folder, folder / 'train0.py')
    print(table(rows))
    if args.out:
        args.out.write_text(table(rows), encoding='utf-8')
    shutil.rmtree(folder)
    failed = [row for row in rows if 'OTHER' in row.end or 'STAYED' in row.left or 'DID NOT' in row.moment]
    print(f'{len(rows)} kills, {len(failed)} of them badly ended', file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()
