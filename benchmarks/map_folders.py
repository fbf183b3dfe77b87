# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Folders of very many maps: ``python benchmarks/map_folders.py``.

First maps like ILSVRC's (28², rough, read at 224² and 1000 thresholds) through ``tools/eval_maps.py``, with one process
and with two: processor time, and the memory of all processes together, beside the protocol done literally on a few of
the same maps. Then small maps (7², read at 32² and 20 thresholds, so that reading counts) as files and as tar shards:
writing, disk, evaluating. The figures of all runs must be the same to the last digit.

Memory is the sum over the processes of their share of each page (PSS), and of that what is in no file (anonymous): the
libraries' pages are the system's, and go when it needs room.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, thread_time

import cv2
import numpy as np
from measure import Row, load_average, save_rows

from mmentropy.ops.localizing.boxes import box_iou
from mmentropy.ops.localizing.protocol import best_iou_by_threshold, contour_boxes, quantize_map, thresholds_of
from mmentropy.ops.mapping.scaling import upsample_map
from mmentropy.shard_files import ShardWriter

ROOT = Path(__file__).resolve().parents[1]
ILSVRC = 50_000
METADATA = {'image_ids': '{}', 'class_labels': '{},0', 'image_sizes': '{},500,375', 'localization': '{},90,60,300,250'}


@dataclass
class Cost:
    """What a command took, with its children: seconds of the clock and of processors, MB at the peak."""

    wall: float
    cpu: float
    memory: float
    anonymous: float


def cost_of(command: list[str]) -> Cost:
    """Run it, and watch it every half second."""
    peak = [0.0, 0.0]
    began = perf_counter()
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            for i, value in enumerate(memory_of(child.pid)):
                peak[i] = max(peak[i], value)

    thread = threading.Thread(target=watch)
    thread.start()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    stop.set()
    thread.join()
    if child.returncode:
        sys.exit(f'error: {" ".join(command)} ended with {child.returncode}')
    return Cost(perf_counter() - began, usage.ru_utime + usage.ru_stime, *peak)


def memory_of(process: int) -> tuple[float, float]:
    """MB of a process and its children: PSS, and what of it is anonymous."""
    found, todo = [0.0, 0.0], [process]
    while todo:
        number = todo.pop()
        try:
            lines = Path(f'/proc/{number}/smaps_rollup').read_text().splitlines()[1:]
            todo += map(int, Path(f'/proc/{number}/task/{number}/children').read_text().split())
        except OSError:
            continue
        sizes = {name: int(value.split()[0]) / 1024 for name, _, value in (line.partition(':') for line in lines)}
        found[0] += sizes['Pss']
        found[1] += sizes['Pss_Anon']
    return found[0], found[1]


def ids_of(number: int) -> list[str]:
    return [f'val/ILSVRC2012_val_{i:08d}.JPEG' for i in range(1, number + 1)]


def write_metadata(folder: Path, ids: list[str]) -> None:
    folder.mkdir()
    for name, row in METADATA.items():
        (folder / f'{name}.txt').write_text('\n'.join(row.format(image_id) for image_id in ids))


def maps_of(number: int, side: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((side, side), dtype=np.float32) for _ in range(number)]


def write_files(folder: Path, ids: list[str], maps: list[np.ndarray]) -> None:
    (folder / 'val').mkdir(parents=True)
    for image_id, cam in zip(ids, maps):
        np.save(folder / f'{image_id}.npy', cam)


def write_shards(folder: Path, ids: list[str], maps: list[np.ndarray]) -> None:
    with ShardWriter(folder) as shards:
        for image_id, cam in zip(ids, maps):
            buffer = io.BytesIO()
            np.save(buffer, cam)
            shards.write(f'{image_id}.npy', buffer.getvalue())


def disk_of(folder: Path) -> float:
    """MB on the disk."""
    return sum(path.stat().st_blocks for path in folder.rglob('*')) * 512 / 1e6


def evaluate(folder: Path, jobs: int, *options: str) -> tuple[Cost, dict]:
    out = folder.parent / f'{folder.name}-{jobs}.json'
    command = [sys.executable, str(ROOT / 'tools/eval_maps.py'), str(folder)]
    command += ['--metadata', str(folder.parent / 'metadata'), '--jobs', str(jobs), '--no-resume', '--out', str(out)]
    cost = cost_of([*command, *options])
    return cost, {name: value for name, value in json.loads(out.read_text()).items() if name.startswith('wsol')}


def literal_ms(maps: list[np.ndarray]) -> float:
    """Milliseconds a map of the protocol as it is written; its hits are ours."""
    truths, times = np.array([[40, 35, 134, 149]]), []
    for cam in maps:
        img = quantize_map(upsample_map(cam, (224, 224)))
        began = thread_time()
        levels = (thresholds_of(0.001) * img.max()).astype(int)
        best = [box_iou(contour_boxes(img, level), truths).max() for level in levels]
        times.append(thread_time() - began)
        if best != best_iou_by_threshold(img, truths, thresholds_of(0.001)).tolist():
            sys.exit('error: the component tree gives other IoUs than the protocol done literally')
    return 1000 * float(np.mean(times))


def like_ilsvrc(folder: Path, number: int, processes: list[int]) -> list[Row]:
    folder.mkdir()
    ids, maps = ids_of(number), maps_of(number, 28)
    write_metadata(folder / 'metadata', ids)
    write_files(folder / 'maps', ids, maps)
    reference = literal_ms(maps[:5])
    rows, seen = [], []
    for jobs in processes:
        cost, figures = evaluate(folder / 'maps', jobs)
        print(f'{number} maps, {jobs} process(es): {cost}, {figures}', file=sys.stderr, flush=True)
        seen.append(figures)
        same = 'same figures' if seen[0] == figures else 'OTHER FIGURES'
        what, ms = f'eval_maps, {number} maps like ILSVRC, --jobs {jobs}', 1000 * cost.cpu / number
        values = f'{ms:.2f} ms an image', '1000 tracings', f'{reference:.0f} ms'
        note = f'processor time, start included: {cost.cpu:.0f} s; by the clock {cost.wall:.0f} s; {same}'
        rows.append(Row(what, *values, reference / ms, '×', '≥ 50', note))
        if number == ILSVRC:
            rows.append(Row('the same', f'{cost.cpu:.0f} s', '', '', cost.cpu, 's', '≤ 100', 'processor time'))
        note = f'in no file: {cost.anonymous:.0f} MB; the rest are pages of libraries, which the system may drop'
        values = f'{cost.memory:.0f} MB', '', '', cost.anonymous, 'MB', '≤ 600'
        rows.append(Row('the same, memory of all processes', *values, note))
    return rows


def as_shards(folder: Path, number: int) -> list[Row]:
    folder.mkdir()
    ids, maps = ids_of(number), maps_of(number, 7)
    write_metadata(folder / 'metadata', ids)
    costs, figures, written = {}, {}, {}
    for kind, write in (('files', write_files), ('shards', write_shards)):
        began = perf_counter(), thread_time()
        write(folder / kind, ids, maps)
        written[kind] = perf_counter() - began[0], thread_time() - began[1], disk_of(folder / kind)
        costs[kind], figures[kind] = evaluate(folder / kind, 2, '--eval-size', '32', '--cam-interval', '0.05')
        print(f'{number} small maps as {kind}: {written[kind]}, {costs[kind]}', file=sys.stderr, flush=True)
    same = 'same figures' if figures['files'] == figures['shards'] else 'OTHER FIGURES'
    pairs = [
        (f'write {number} maps of 7² as tar shards', 's', '≤ 1', 'processor time', *(written[k][1] for k in costs)),
        ('the same, on the disk', 'MB', '≤ 1', '', *(written[k][2] for k in costs)),
        ('evaluate them, --jobs 2', 's', '≤ 1.1', f'processor time; {same}', *(costs[k].cpu for k in costs)),
        ('the same, memory in no file', 'MB', '≤ 1.1', '', *(costs[k].anonymous for k in costs)),
    ]
    return [
        Row(what, f'{ours:.1f} {unit}', 'files', f'{theirs:.1f} {unit}', ours / theirs, '×', target, note)
        for what, unit, target, note, theirs, ours in pairs
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--maps', type=int, default=2000, help='maps like ILSVRC; it has 50000; 0 leaves them out')
    parser.add_argument('--jobs', type=int, nargs='+', default=[1, 2], help='processes, one run each')
    parser.add_argument('--small', type=int, default=5000, help='small maps; 0 leaves them out')
    parser.add_argument('--folder', type=Path, help='where the maps are written and left (default: a folder that goes)')
    parser.add_argument('--json', type=Path, help='also write the rows of docs/benchmarks.md there')
    args = parser.parse_args()
    cv2.setNumThreads(0)
    print(f'load at the start {load_average()}', file=sys.stderr)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if args.maps:
            rows += like_ilsvrc(folder / 'ilsvrc', args.maps, args.jobs)
        if args.small:
            rows += as_shards(folder / 'small', args.small)
    for row in rows:
        print(row)
    print(f'load at the end {load_average()}', file=sys.stderr)
    save_rows(rows, args.json)


if __name__ == '__main__':
    main()
