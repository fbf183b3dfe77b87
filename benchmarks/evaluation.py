# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The box metric beside the brute force, in one run on one core: ``python benchmarks/evaluation.py``.

For smooth, rough and noisy 224² maps: milliseconds a map of the component tree, of the protocol done literally (1000
thresholds, each traced by OpenCV) and of its obvious improvement (one tracing for each of the at most 255 distinct
levels); the ratios; and whether all three give the same hits. Then the peak memory of the metric over many images.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import thread_time

import cv2
import numpy as np
import torch
from measure import Row, save_rows
from rich.console import Console
from rich.table import Table

from mmentropy.evaluation import BoxLocalizationMetric
from mmentropy.ops.localizing.boxes import box_iou
from mmentropy.ops.localizing.protocol import best_iou_by_threshold, contour_boxes, hits, quantize_map, thresholds_of

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests' / 'ops'))
from wsol_brute_force import make_map

IOU_THRS = (30, 50, 70)
THRESHOLDS = thresholds_of(0.001)


def literal(img: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """The protocol as it is written: every threshold traced."""
    top = img.max()
    return np.array([box_iou(contour_boxes(img, int(t * top)), truths).max() for t in THRESHOLDS])


def by_level(img: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Every distinct level traced once."""
    levels, place = np.unique((THRESHOLDS * img.max()).astype(int), return_inverse=True)
    return np.array([box_iou(contour_boxes(img, level), truths).max() for level in levels])[place]


def tree(img: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Ours."""
    return best_iou_by_threshold(img, truths, THRESHOLDS)


def best_time(function: Callable[[], object], repeats: int) -> float:
    """Milliseconds of processor time, the best of some calls: others at work on the machine hardly count."""
    times = []
    for _ in range(repeats):
        start = thread_time()
        function()
        times.append(thread_time() - start)
    return 1000 * min(times)


#: Least factors of the component tree over the thousand tracings.
TARGETS = {'smooth': '≥ 4', 'rough': '≥ 20', 'noisy': '≥ 300'}


def compare(maps: int, repeats: int) -> tuple[Table, list[Row]]:
    """The table of times, ratios and agreement; and the rows of docs/benchmarks.md."""
    rows = []
    table = Table(title=f'One 224×224 map against its boxes at 1000 thresholds (mean over {maps} maps)')
    for name in ('maps', 'tree (ms)', '1000 tracings (ms)', 'ratio', '255 tracings (ms)', 'ratio', 'same hits'):
        table.add_column(name, justify='right')
    truths = np.array([[40, 50, 150, 170], [10, 20, 60, 90]])
    for kind in ('smooth', 'rough', 'noisy'):
        times, same = np.zeros(3), True
        for seed in range(maps):
            img = quantize_map(make_map(kind, 224, 224, seed))
            found = [hits(function(img, truths), IOU_THRS) for function in (tree, literal, by_level)]
            same &= all(np.array_equal(found[0], other) for other in found[1:])
            slow = 1 if kind == 'noisy' else repeats
            for i, (function, number) in enumerate(((tree, 5 * repeats), (literal, slow), (by_level, slow))):
                times[i] += best_time(lambda f=function, m=img: f(m, truths), number) / maps
        ours, every, levels = times
        row = [kind, f'{ours:.2f}', f'{every:.1f}', f'{every / ours:.0f}', f'{levels:.1f}', f'{levels / ours:.0f}']
        table.add_row(*row, 'yes' if same else 'NO')
        what, note = f'box metric, {kind} 224² map', 'same hits' if same else 'OTHER HITS'
        values = f'{ours:.2f} ms', '1000 tracings', f'{every:.0f} ms'
        rows.append(Row(what, *values, every / ours, '×', TARGETS[kind], note))
        if kind == 'rough':
            rows.append(Row('the same, absolute', f'{ours:.2f} ms', figure=ours, unit_of_figure='ms', target='≤ 1.5'))
    return table, rows


def resident_megabytes() -> float:
    """Memory of the process as Linux counts it; the largest ever would show the imports, not the metric."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGESIZE') / 2**20


def memory(images: int) -> tuple[Table, list[Row]]:
    """Peak of the process's resident memory while 1000 and all images go through the metric, each with its own maps."""
    metric = BoxLocalizationMetric(threshold=0.2)
    rng, peak = np.random.default_rng(0), 0.0
    peaks = []
    table = Table(title='Peak resident memory with the metric')
    table.add_column('images', justify='right')
    table.add_column('MB', justify='right')
    for index in range(images):
        sample = dict(
            cams=torch.from_numpy(rng.random((6, 14, 14), dtype=np.float32)),
            cam_labels=torch.arange(6),
            gt_label=torch.tensor([index % 6]),
            gt_bboxes=np.array([[30.0, 40.0, 200.0, 180.0]]),
            ori_shape=(300, 400),
            pred_score=torch.rand(200),
        )
        metric.process(None, [sample])
        peak = max(peak, resident_megabytes())
        if index + 1 in (1000, images):
            table.add_row(str(index + 1), f'{peak:.1f}')
            peaks.append(peak)
    metric.evaluate(images)
    what, first = f'box metric, memory after {images} images', 'after the first 1000'
    values = f'{peaks[-1]:.0f} MB', first, f'{peaks[0]:.0f} MB'
    return table, [Row(what, *values, peaks[-1] - peaks[0], 'MB', '≤ 20', 'difference')]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--maps', type=int, default=3, help='maps of each kind')
    parser.add_argument('--repeats', type=int, default=3, help='calls of which the best counts')
    parser.add_argument('--images', type=int, default=10_000, help='images for the memory; 0 leaves it out')
    parser.add_argument('--json', type=Path, help='also write the rows of docs/benchmarks.md there')
    args = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    console = Console(width=120)
    tree(quantize_map(make_map('rough', 224, 224, 0)), np.array([[0, 0, 9, 9]]))  # compilation is not timed
    table, rows = compare(args.maps, args.repeats)
    console.print(table)
    if args.images:
        table, more = memory(args.images)
        console.print(table)
        rows += more
    save_rows(rows, args.json)


if __name__ == '__main__':
    main()
