# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The processes of ``test_faults``: ``python faults_worker.py SCENARIO FOLDER``; exit codes go to ``codes.json``."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tiny_runs import EPOCHS, ITERATIONS, At, config, free_port, go, kill, train

WHERE = ('training', 'training', 'training', 'writing', 'renamed', 'validation')


def moments(seed: int, number: int) -> list[tuple[int, str]]:
    """Random (iteration, place) of the kills of one run, in the order in which they come."""
    rng = np.random.default_rng(seed)
    iterations = sorted(rng.choice(np.arange(1, EPOCHS * ITERATIONS - 3), number, replace=False).tolist())
    return [(iteration, str(rng.choice(WHERE))) for iteration in iterations]


def train_and_die(cfg, iteration: int, where: str) -> None:
    """In a process of its own: die at the iteration, or when the next checkpoint is half written, or just renamed."""
    if where == 'training':
        train(cfg, (At(iteration, kill),))
    elif where == 'validation':
        train(cfg, (At(iteration, kill, validating=True),))
    else:
        train(cfg, (At(iteration, lambda: _die_saving(where)),))


def _die_saving(where: str) -> None:
    replace = Path.replace

    def dying(path: Path, target: Path) -> None:
        if 'last_checkpoint' not in path.name:
            if where == 'writing':
                path.write_bytes(path.read_bytes()[:1000])
            else:
                replace(path, target)
        kill()

    Path.replace = dying


def whole(folder: Path, **options) -> None:
    assert go((config(folder, **options),)) == [0]


def kills(folder: Path) -> dict:
    """Two chains of kills against an undisturbed run; one with a data worker, one by iteration."""
    codes = {}
    for name, options, plan in (
        ('epochs', {}, moments(0, 7)),
        ('workers', dict(workers=1), moments(1, 2)),
        ('iterations', dict(by_epoch=False), moments(2, 3)),
    ):
        whole(folder / f'{name}_whole', **options)
        broken = folder / f'{name}_broken'
        codes[name] = [go((config(broken, **options), *moment), target=train_and_die)[0] for moment in plan]
        codes[name] += go((config(broken, **options),))
    return codes


def terminated(folder: Path) -> dict:
    """SIGTERM to a whole job with a data worker, inside an epoch; then to one of two processes."""

    def to_all() -> None:
        for number in [os.getpid(), *(child.pid for child in multiprocessing.active_children())]:
            os.kill(number, signal.SIGTERM)

    whole(folder / 'whole', workers=1)
    cfg = config(folder / 'broken', workers=1)
    codes = {'one': go((cfg, (At(8, to_all),)))}
    codes['files'] = sorted(path.name for path in (folder / 'broken').glob('*.pth'))
    codes['one'] += go((config(folder / 'broken', workers=1),))
    codes['files_after'] = sorted(path.name for path in (folder / 'broken').glob('*.pth'))

    def two(hooks: tuple) -> list[int]:
        runs = [config(folder / 'two', **{'default_hooks.stop': dict(type='mmentropy.StopSignalHook', interval=4)})]
        runs.append(runs[0].copy())
        port = free_port()
        return go(*((runs[rank], hooks if rank else (), rank, 2, port) for rank in (0, 1)))

    def to_self() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    codes['two'] = two((At(2, to_self),))
    codes['two_after'] = two(())
    return codes


def disk(folder: Path) -> dict:
    """A limit on the size of files, as a full disk; then a tmpfs that really is full, where one may be mounted."""

    def limited(cfg) -> None:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        train(cfg, (At(6, limit),))

    whole(folder / 'whole')
    codes = {'limit': go((config(folder / 'limit'),), target=limited)}
    codes['files'] = sorted(path.name for path in (folder / 'limit').glob('*.p*t*'))
    codes['limit'] += go((config(folder / 'limit'),))
    small = folder / 'small'
    small.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=2500k', 'none', str(small)]
    codes['mounted'] = subprocess.run(mount, capture_output=True).returncode == 0
    if codes['mounted']:
        try:
            codes['small'] = go((config(small),))
            codes['small_files'] = sorted(path.name for path in small.glob('*.p*t*'))
            subprocess.run(['mount', '-o', 'remount,size=50m', str(small)], check=True)
            codes['small'] += go((config(small),))
            for name in ('weights_0.pt', 'diary_0.jsonl', 'stderr.txt'):
                (folder / name).write_bytes((small / name).read_bytes())
        finally:
            subprocess.run(['umount', str(small)], check=True)
    return codes


def worker(folder: Path) -> dict:
    """A data worker that the kernel kills; a last checkpoint that is truncated."""

    def kill_worker() -> None:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    whole(folder / 'whole', workers=1)
    keep = {'default_hooks.checkpoint.max_keep_ckpts': 3}
    broken = folder / 'broken'
    codes = {'codes': go((config(broken, workers=1, **keep), (At(9, kill_worker),)))}
    codes['files'] = sorted(path.name for path in broken.glob('*.pth'))
    last = broken / 'iter_8.pth'
    last.write_bytes(last.read_bytes()[:-1000])
    codes['codes'] += go((config(broken, workers=1, **keep),))
    return codes


SCENARIOS: dict[str, Callable[[Path], dict]] = dict(kills=kills, terminated=terminated, disk=disk, worker=worker)

if __name__ == '__main__':
    place = Path(sys.argv[2])
    (place / 'codes.json').write_text(json.dumps(SCENARIOS[sys.argv[1]](place)))
