# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Training and evaluation in one process and in several, on this machine: ``python benchmarks/scaling.py``.

Training goes through ``tools/dist_train.sh`` (DDP, gloo without GPUs) and one thread a process, so that the processes
share nothing but the machine; the same batch a process. Evaluation is ``tools/eval_maps.py --jobs``. The settings take
turns; figures are the best round's. Prints a Markdown table for ``docs/scaling.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from measure import load_average

ROOT = Path(__file__).resolve().parents[1]
TRAINING = """
_base_ = ['{root}/configs/_base_/models/{model}.py', '{root}/configs/_base_/datasets/partshapes.py',
          '{root}/configs/_base_/schedules/scratch_30e.py', '{root}/configs/_base_/default_runtime.py']
model = dict(backbone=dict(init_cfg=None))
"""
#: name → (base model, image size, images a process and step, steps of each of two epochs)
NETWORKS = {'ResNet-18, 64²': ('resnet18_small_cam', 64, 32, 12), 'ResNet-50, 224²': ('resnet50_cam', 224, 4, 5)}
WARM_UP = 3


def run(command: list[str]) -> None:
    """A command with one thread a process, silent unless it fails."""
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PATH': path}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f'{done.stderr}\nerror: {" ".join(command[:3])} ended with {done.returncode}')


def images_per_second(network: str, processes: int, folder: Path) -> float:
    """Of all processes together, by the log's median time of a step, data included."""
    model, size, batch, steps = NETWORKS[network]
    config = folder / f'{model}.py'
    config.write_text(TRAINING.format(root=ROOT, model=model))
    work_dir = folder / f'{model}-{processes}'
    sets = {f'{split}_dataloader.dataset.image_size': size for split in ('train', 'val', 'test')}
    sets |= {'train_dataloader.dataset.length': processes * batch * steps, 'train_dataloader.batch_size': batch}
    sets |= {'train_dataloader.num_workers': 0, 'train_dataloader.persistent_workers': False}
    sets |= {
        'default_hooks.logger.interval': 1,
        'log_processor.window_size': 1,
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 3,
    }
    sets |= {'default_hooks.checkpoint.interval': -1}
    options = [f'{key}={value}' for key, value in sets.items()]
    command = [str(ROOT / 'tools/dist_train.sh'), str(config), str(processes), '--work-dir', str(work_dir)]
    run([*command, '--cfg-options', *options])
    (log,) = sorted(work_dir.glob('*/vis_data/scalars.json'))[-1:]
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return processes * batch / statistics.median([row['time'] for row in rows if 'loss' in row][WARM_UP:])


def maps_per_second(jobs: int, folder: Path, number: int) -> float:
    """Maps of 28² against boxes at 224², read from files."""
    maps, metadata = folder / 'maps', folder / 'metadata'
    if not metadata.is_dir():
        rng = np.random.default_rng(0)
        maps.mkdir(), metadata.mkdir()
        names = [f'{i}.jpg' for i in range(number)]
        for name in names:
            np.save(maps / f'{name}.npy', rng.random((28, 28), dtype=np.float32))
        rows = {
            'image_ids': '{}',
            'class_labels': '{},0',
            'image_sizes': '{},500,375',
            'localization': '{},90,60,300,250',
        }
        for file, row in rows.items():
            (metadata / f'{file}.txt').write_text('\n'.join(row.format(name) for name in names))
    command = [sys.executable, str(ROOT / 'tools/eval_maps.py'), str(maps), '--metadata', str(metadata)]
    command += ['--jobs', str(jobs), '--no-resume']
    began = perf_counter()
    run(command)
    return number / (perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 2], help='default: 1 2')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--maps', type=int, default=4000, help='maps to evaluate')
    args = parser.parse_args()
    jobs = dict.fromkeys(NETWORKS, images_per_second) | {'boxes of maps, files read': None}
    print(f'load at the start {load_average()}, {os.cpu_count()} cores', file=sys.stderr)
    best: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(args.rounds):
            for what, measure in jobs.items():
                for count in args.processes[:: -1 if number % 2 else 1]:
                    folder = Path(name, f'round{number}')
                    folder.mkdir(exist_ok=True)
                    if measure is None:
                        found = maps_per_second(count, Path(name), args.maps)
                    else:
                        found = measure(what, count, folder)
                    best[what, count] = max(best.get((what, count), 0.0), found)
                    print(f'{what}, {count} process(es): {found:.1f}/s', file=sys.stderr, flush=True)
    first, *others = args.processes
    heads = [f'{first} process, images/s', *(f'{n} processes, images/s | times' for n in others)]
    print(f'| | {" | ".join(heads)} |')
    print(f'|---|---|{"---|---|" * len(others)}')
    for what in jobs:
        cells = [f'{best[what, first]:.1f}']
        cells += [f'{best[what, n]:.1f} | {best[what, n] / best[what, first]:.2f}' for n in others]
        print(f'| {what} | {" | ".join(cells)} |')
    print(f'load at the end {load_average()}', file=sys.stderr)


if __name__ == '__main__':
    main()
