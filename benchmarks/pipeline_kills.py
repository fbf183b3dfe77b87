# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Kill the segmentation pipeline, its trainers and workers again and again; what is left, and what the next start does.

``python benchmarks/pipeline_kills.py /tmp/kills`` writes a table, and compares the end with a run that was left alone,
weights and files bit for bit. Linux only: processes are found by a variable in their environment.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from mmentropy.safe_files import write_whole

ROOT = Path(__file__).resolve().parents[1]
VARIABLE = 'MMENTROPY_KILLS'
STAGES = ('classify', 'maps', 'seed', 'sure', 'affinity', 'walk', 'masks', 'segment', 'test')
OPTIONS = {
    'train_dataloader.num_workers': 1,
    'train_dataloader.persistent_workers': False,
    'model.backbone.base_channels': 8,
    'model.backbone.stem_channels': 8,
}
CLASSIFY = {**OPTIONS, 'train_cfg.max_epochs': 5, 'train_dataloader.batch_size': 8}
SEGMENT = {
    'train_cfg.max_iters': 8,
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'default_hooks.checkpoint.interval': 1,
}
AFFINITY = {**SEGMENT, **OPTIONS, 'train_dataloader.num_workers': 0, 'model.in_channels': [8, 16, 64]}
CONFIG = f"""
data = dict(split='train', num_classes=5, partshapes=dict(train=48, val=24, image_size=64, seed=2))
stages = dict(
    classify=dict(type='Classify', config='{ROOT}/configs/voc/resnet18_partshapes_cls_ent.py', options={CLASSIFY}),
    maps=dict(type='ClassMaps', scales=[1.0, 0.5], batch_size=2),
    seed=dict(type='Seed', background='entropy'),
    sure=dict(type='PseudoMasks', confidence=0.3),
    affinity=dict(type='TrainAffinity', config='{ROOT}/configs/voc/affinity_r18_partshapes.py', init_from='classify',
                  options={AFFINITY}),
    walk=dict(type='RandomWalkRefine', source='seed', affinity='affinity', stride=4, radius=4, log_steps=4),
    masks=dict(type='PseudoMasks'),
    segment=dict(type='Segment', config='{ROOT}/configs/voc/dsrg_r18_partshapes.py', options={SEGMENT}),
    test=dict(type='Test', split='val', flip=True),
)
"""


@dataclass(frozen=True)
class Kill:
    """One kill: which process, by what, once ``count`` files of a pattern are there."""

    process: str
    number: int
    pattern: str
    count: int = 1
    jobs: int = 1

    @property
    def stage(self) -> str:
        return self.pattern.partition('/')[0]


K, T = signal.SIGKILL, signal.SIGTERM
KILLS = (
    Kill('pipeline', K, 'VOC2012/JPEGImages/*.jpg', 20),
    Kill('pipeline', K, 'classify/config.py'),
    Kill('pipeline', T, 'classify/train.log'),
    Kill('trainer', K, 'classify/train.log'),
    Kill('pipeline', K, 'classify/epoch_1.pth'),
    Kill('pipeline', T, 'classify/epoch_2.pth'),
    Kill('trainer', K, 'classify/epoch_3.pth'),
    Kill('trainer', T, 'classify/epoch_4.pth'),
    Kill('pipeline', K, 'classify/epoch_5.pth'),
    Kill('pipeline', K, 'maps/*.npz', 4),
    Kill('pipeline', T, 'maps/*.npz', 16),
    Kill('worker', K, 'maps/*.npz', 20, jobs=2),
    Kill('pipeline', K, 'maps/*.npz', 30, jobs=2),
    Kill('pipeline', K, 'seed/*.npz', 8),
    Kill('pipeline', T, 'seed/*.npz', 30),
    Kill('pipeline', K, 'sure/*.png', 10),
    Kill('pipeline', K, 'affinity/config.py'),
    Kill('trainer', K, 'affinity/iter_2.pth'),
    Kill('pipeline', K, 'affinity/iter_4.pth'),
    Kill('pipeline', T, 'affinity/iter_6.pth'),
    Kill('pipeline', K, 'walk/*.npz', 5),
    Kill('pipeline', T, 'walk/*.npz', 25),
    Kill('pipeline', K, 'masks/*.png', 12),
    Kill('trainer', K, 'segment/train.log'),
    Kill('pipeline', K, 'segment/iter_2.pth'),
    Kill('pipeline', T, 'segment/iter_4.pth'),
    Kill('trainer', T, 'segment/iter_6.pth'),
    Kill('pipeline', K, 'test/*.png', 3),
    Kill('pipeline', T, 'test/*.png', 12),
)


def processes(mark: str) -> dict[int, tuple[str, int]]:
    """Living processes of a run: number → (command line, parent)."""
    found = {}
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            if f'{VARIABLE}={mark}'.encode() not in (folder / 'environ').read_bytes():
                continue
            state, parent = (folder / 'stat').read_text().rpartition(')')[2].split()[:2]
            if state != 'Z':
                found[int(folder.name)] = (folder / 'cmdline').read_bytes().decode().replace('\0', ' '), int(parent)
        except (OSError, ValueError):
            continue
    return found


def kinds(mark: str) -> dict[str, list[int]]:
    """Which of a run's processes is what."""
    found: dict[str, list[int]] = {'pipeline': [], 'trainer': [], 'worker': [], 'other': []}
    alive = processes(mark)
    for number, (command, parent) in alive.items():
        if 'host_run' in command:
            kind = 'other' if 'host_run' in alive.get(parent, ('', 0))[0] else 'trainer'
        elif 'seg_pipeline.py' in command:
            kind = 'pipeline'
        else:
            kind = 'worker' if 'forkserver' in command and 'forkserver' in alive.get(parent, ('', 0))[0] else 'other'
        found[kind].append(number)
    return found


def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.003)
    return True


def start(config: Path, folder: Path, mark: str, log: Path, jobs: int = 1) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / 'tools/seg_pipeline.py'), str(config), '--work-dir', str(folder), '--quiet']
    environment = {**os.environ, VARIABLE: mark, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'}
    with open(log, 'w') as file:
        return subprocess.Popen(
            [*command, '--device', 'cpu', '--jobs', str(jobs)], stdout=file, stderr=file, env=environment
        )


def what_it_did(folder: Path, log: Path, trained: dict[str, int]) -> str:
    """What a start did, from its log: the stages that it skipped, and where it went on."""
    text = log.read_text(errors='replace')
    skipped = [stage for stage in STAGES if f'{stage}: finished before, skipped' in text]
    told = [f'skipped {", ".join(skipped)}'] if skipped else []
    for stage, made in re.findall(r"^(\w+): \{.*?'made': (\d+)", text, re.MULTILINE):
        told.append(f'{stage}: {made} files made')
    for stage in ('classify', 'affinity', 'segment'):
        path = folder / stage / 'train.log'
        new = path.read_bytes()[trained.get(stage, 0) :].decode(errors='replace') if path.is_file() else ''
        if f'{stage}: training' in text:
            resumed = re.search(r'resumed epoch: (\d+), iter: (\d+)', new)
            step = f'iteration {resumed[2]}' if resumed else ''
            told.append(f'{stage}: resumed at {step}' if resumed else f'{stage}: trained from the start')
    if 'error: ' in text:
        told.append(text[text.index('error: ') :].splitlines()[0][:100])
    return '; '.join(told) or 'ended in the start-up'


def sizes(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_size for path in folder.glob('*/train.log')}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.suffix in ('.npz', '.png', '.zip') and path.is_file()
    }


def difference(one: Path, other: Path) -> str:
    """In what two finished runs differ; empty if in nothing."""
    a, b = contents(one), contents(other)
    names = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
    for stage in ('classify', 'affinity', 'segment'):
        left, right = (torch.load(run / stage / 'model.pth', weights_only=True)['state_dict'] for run in (one, other))
        names += [f'{stage}: {key}' for key in left if not torch.equal(left[key], right[key])]
    return f'{len(names)} differ, such as {names[0]}' if names else ''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='of the runs, and of kills.md')
    parser.add_argument('--limit', type=float, default=600.0, help='seconds for one start')
    parser.add_argument('--patience', type=float, default=60.0, help='seconds for the processes of a killed run to end')
    parser.add_argument('--only', nargs='+', type=int, metavar='ROW', help='only these kills, and the comparison')
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    config, killed, whole = args.folder / 'tiny.py', args.folder / 'killed', args.folder / 'whole'
    config.write_text(CONFIG)
    log, rows, before = args.folder / 'start.log', [], {}
    last = 'nothing was there'
    for number, kill in enumerate(KILLS, 1):
        if args.only and number not in args.only:
            continue
        mark = uuid.uuid4().hex
        process = start(config, killed, mark, log, kill.jobs)
        aimed: list[int] = []

        def there(
            kill: Kill = kill, process: subprocess.Popen = process, mark: str = mark, aimed: list = aimed
        ) -> bool:
            if process.poll() is not None:
                return True
            if len(list(killed.glob(kill.pattern))) < kill.count:
                return False
            aimed[:] = [process.pid] if kill.process == 'pipeline' else kinds(mark)[kill.process]
            return bool(aimed)

        until(there, args.limit)
        for target in aimed[:1]:
            os.kill(target, kill.number)
        until(lambda process=process: process.poll() is not None, 60)
        ended = time.monotonic()
        gone = until(lambda mark=mark: not processes(mark), args.patience)
        left = [] if gone else [re.sub(r'^\S+|-\S+ ', '', command)[:60] for command, _ in processes(mark).values()]
        left = left or [f'none after {time.monotonic() - ended:.0f} s']
        rows.append(
            (
                number,
                kill.process if aimed else f'{kill.process} (was gone)',
                signal.Signals(kill.number).name,
                f'{kill.count} × {kill.pattern}' if kill.count > 1 else kill.pattern,
                process.poll(),
                ', '.join(left),
                len(list(killed.rglob('*.part'))),
                what_it_did(killed, log, before),
            )
        )
        before = sizes(killed)
        for one in processes(mark):
            os.kill(one, signal.SIGKILL)
        print(*rows[-1], sep=' | ', flush=True)
        write_table(args.folder / 'kills.md', rows, '')
    for folder in (killed, whole):
        process = start(config, folder, uuid.uuid4().hex, log)
        if process.wait():
            raise SystemExit(log.read_text())
        if folder == killed:
            last = what_it_did(killed, log, before)
    write_table(args.folder / 'kills.md', rows, f'The last start: {last}.\n\n{difference(killed, whole) or SAME}\n')
    print((args.folder / 'kills.md').read_text())


SAME = 'Against a run that was left alone: every file and every weight is the same, bit for bit.'


def write_table(path: Path, rows: list[tuple], end: str) -> None:
    head = (
        '',
        'killed',
        'by',
        'when there is',
        'exit code',
        'processes left',
        'unfinished files',
        'what this start had done',
    )
    lines = [head, ('---',) * len(head), *rows]
    write_whole(path, ''.join(f'| {" | ".join(map(str, line))} |\n' for line in lines) + f'\n{end}')


if __name__ == '__main__':
    main()
