# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The processes of ``test_killed_tools``: ``python tools_worker.py FOLDER``; exit codes go to ``codes.json``."""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from small_classifier import CONFIG
from tiny_runs import ROOT, config, go, kill, train

PHOTOS = 8


def die_writing(call: int, half: bool) -> Callable[[], None]:
    """Before a tool starts: it is killed at its ``call``-th file, when that is half written or when it has its name."""

    def prepare() -> None:
        replace, count = Path.replace, [0]

        def dying(path: Path, target: Path) -> Path:
            count[0] += 1
            if count[0] < call:
                return replace(path, target)
            if half:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            else:
                replace(path, target)
            return kill()

        Path.replace = dying

    return prepare


def die_evaluating(call: int) -> Callable[[], None]:
    """Before a tool starts: it is killed at the ``call``-th batch that reaches a metric."""

    def prepare() -> None:
        from mmengine.evaluator import Evaluator

        process, count = Evaluator.process, [0]

        def dying(*arguments: object, **options: object) -> None:
            count[0] += 1
            if count[0] == call:
                kill()
            process(*arguments, **options)

        Evaluator.process = dying

    return prepare


def tool(folder: Path, command: list, prepare: Callable[[], None] | None = None) -> None:
    """The body of a process: a tool, as a user starts it."""
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(folder / 'console.log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1), os.dup2(log, 2)
    torch.set_num_threads(1)
    sys.argv = [str(part) for part in command]
    if prepare is not None:
        prepare()
    runpy.run_path(str(ROOT / command[0]), run_name='__main__')


def chain(folder: Path, command: Callable[[Path], list], moments: list[Callable[[], None]]) -> list[int]:
    """An undisturbed run in ``whole``; in ``broken`` one that is killed at each moment and then left to finish."""
    assert go((folder / 'whole', command(folder / 'whole')), target=tool) == [0]
    broken, codes, stamps = folder / 'broken', [], []
    for moment in (*moments, None):
        codes += go((broken, command(broken), moment), target=tool)
        stamps.append({str(path): path.stat().st_mtime_ns for path in broken.glob('out/maps/*.npz')})
    (folder / 'stamps.json').write_text(json.dumps(stamps))
    return codes


def main(folder: Path) -> dict[str, list[int]]:
    rng = np.random.default_rng(0)
    (folder / 'classifier.py').write_text(CONFIG)
    (folder / 'photos').mkdir()
    for i in range(PHOTOS):
        image = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f'photos/{i}.png')

    def localize(out: Path) -> list:
        torch.manual_seed(0)  # a network without weights is drawn when it is built
        # Photos one by one: where a batch is cut in two by a kill, the last digits of a product may change.
        command = ['tools/localize.py', folder / 'classifier.py', folder / 'photos', '--out-dir', out / 'out']
        return [
            *command,
            '--device',
            'cpu',
            '--input-size',
            '64',
            '--topk',
            '2',
            '--batch-size',
            '1',
            '--random-weights',
        ]

    # Each photo has five files: two overlays, two masks, and the maps that the next start goes on from.
    writing = [die_writing(int(call), half) for call, half in zip(rng.integers(2, 15, 3), (True, False, True))]
    codes = {'localize': chain(folder / 'localize', localize, writing)}

    cfg = config(folder / 'training')
    assert go((cfg,), target=train) == [0]
    cfg.resume = False
    cfg.dump(str(folder / 'test.py'))

    def test(out: Path) -> list:
        command = ['tools/test.py', folder / 'test.py', folder / 'training/iter_18.pth', '--work-dir', out / 'work']
        return [*command, '--out', out / 'out/metrics.json']

    codes['test'] = chain(folder / 'test', test, [die_evaluating(2), die_writing(1, half=True)])
    return codes


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    place = Path(sys.argv[1])
    os.chdir(ROOT)
    (place / 'codes.json').write_text(json.dumps(main(place)))
