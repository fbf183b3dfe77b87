# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Why localisations fail: the kind of each image's error, per class and object size, as CSV and a plot."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmentropy.ops.localizing.boxes import box_iou, scale_boxes
from mmentropy.ops.localizing.errors import KINDS, SIZE_BINS, localization_error, object_share, size_bin
from mmentropy.ops.localizing.protocol import contour_boxes, current_localizer, quantize_map, threshold_levels
from mmentropy.registry import METRICS
from mmentropy.safe_files import written_whole

from .plots import plot_errors
from .samples import Case, check_drawing
from .thresholds import given_thresholds

COLUMNS = ('image', 'label', 'predicted', 'kind', 'iou', 'object_share', 'size_bin', 'x0', 'y0', 'x1', 'y1')


def analyse_sample(
    sample: dict,
    threshold: float,
    iou_thr: int = 50,
    contours: str = 'largest',
    localizer: str = 'cam',
    eval_size: tuple[int, int] = (224, 224),
    grid: str = 'sample',
) -> dict[str, Any]:
    """One row of the table, see :class:`ErrorAnalysisMetric`; the box is in pixels of ``eval_size``."""
    case = Case(sample, ErrorAnalysisMetric.__name__, grid)
    try:
        img = quantize_map(case.normalized_map(case.label, localizer, eval_size))
        truths = scale_boxes(case.boxes, case.size, eval_size)
        level = int(threshold_levels(np.array(threshold), int(img.max())))
        drawn = contour_boxes(img, level, contours)
        ious = box_iou(drawn, truths).max(1)
        box = drawn[int(ious.argmax())]
        kind = localization_error(box, truths, case.predicted in (None, case.label), iou_thr / 100)
    except ValueError as error:
        raise ValueError(f'{case.name}: {error}') from error
    share = object_share(truths, eval_size)
    predicted = '' if case.predicted is None else case.predicted
    row = (case.name, case.label, predicted, kind, round(float(ious.max()), 4), round(share, 4), size_bin(share))
    return dict(zip(COLUMNS, (*row, *(int(v) for v in box))))


def tabulate(rows: Iterable[dict], key: Callable[[dict], Any]) -> list[dict[str, Any]]:
    """Number of images and percentages of each kind, by ``key`` (sorted)."""
    counts: dict[Any, Counter[str]] = {}
    for row in rows:
        counts.setdefault(key(row), Counter())[row['kind']] += 1
    table = []
    for name in sorted(counts):
        total = sum(counts[name].values())
        shares = {kind: round(100 * counts[name][kind] / total, 2) for kind in KINDS}
        table.append({'group': name, 'images': total} | shares)
    return table


def write_tables(rows: Sequence[dict], out_dir: str | Path, classes: Sequence[str] | None = None) -> dict[str, float]:
    """Write ``errors.csv`` (a row an image), ``errors_by_class.csv``, ``errors_by_size.csv`` and ``errors.png``.

    Args:
        rows: from :func:`analyse_sample`.
        out_dir: made if it is not there.
        classes: names of the classes, for the table.

    Returns:
        ``error_KIND`` → per cent of all images.
    """
    if not rows:
        raise ValueError('there is no image to analyse')
    out_dir = Path(out_dir)
    by_class = tabulate(rows, lambda row: row['label'])
    if classes:
        by_class = [row | {'group': classes[row['group']]} for row in by_class]
    names = [name for _, name in SIZE_BINS]
    by_size = tabulate(rows, lambda row: names.index(row['size_bin']))
    by_size = [row | {'group': names[row['group']]} for row in by_size]
    _write_csv(out_dir / 'errors.csv', rows)
    _write_csv(out_dir / 'errors_by_class.csv', by_class)
    _write_csv(out_dir / 'errors_by_size.csv', by_size)
    (total,) = tabulate(rows, lambda row: 'all')
    plot_errors([total, *by_size], out_dir / 'errors.png')
    return {f'error_{kind}': total[kind] for kind in KINDS}


def _write_csv(path: Path, rows: Sequence[dict]) -> None:
    with written_whole(path) as partial, open(partial, 'w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@METRICS.register_module()
class ErrorAnalysisMetric(BaseMetric):
    """Share (per cent) of the images of each kind of :func:`mmentropy.ops.localizing.errors.localization_error`, and
    tables of it.

    A box is drawn at one threshold, as a user would: around the largest contour, or around all of them, of which the
    best counts. Keys are ``error_correct``, ``error_wrong_class`` (the box is right), ``error_wrong_class_and_box``,
    ``error_part``, …; they sum to 100. Without predictions no class is wrong. Only a short row an image is kept.

    Args:
        threshold: at which boxes are drawn; or
        threshold_from: JSON of figures with a ``threshold@50`` (of δ), of this split or another.
        out_dir: where tables and plot go, see :func:`write_tables`; None writes none.
        iou_thr: δ in per cent.
        contours, localizer, eval_size, grid: as in :class:`BoxLocalizationMetric`.

    >>> cam = np.zeros((1, 8, 8))
    >>> cam[0, 2:4, 2:4] = 1  # a quarter of the object
    >>> truth = {'gt_label': [0], 'gt_bboxes': [[2, 2, 6, 6]], 'ori_shape': (8, 8)}
    >>> metric = ErrorAnalysisMetric(threshold=0.2, eval_size=8)
    >>> metric.process(None, [{**truth, 'cams': cam, 'cam_labels': [0]}])
    >>> {name: share for name, share in metric.evaluate(size=1).items() if share}
    {'wsol/error_part': 100.0}
    """

    default_prefix = 'wsol'

    def __init__(
        self,
        threshold: float | None = None,
        threshold_from: str | Path | None = None,
        out_dir: str | Path | None = None,
        iou_thr: int = 50,
        contours: str = 'largest',
        localizer: str = 'cam',
        eval_size: int | Sequence[int] = 224,
        grid: str = 'sample',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if (threshold is None) == (threshold_from is None):
            raise ValueError('ErrorAnalysisMetric needs one of threshold and threshold_from')
        name = str(iou_thr)
        given = given_thresholds((name,), 'oracle' if threshold is None else threshold, threshold_from, self.prefix)
        size = (eval_size, eval_size) if isinstance(eval_size, int) else tuple(eval_size)
        self.options = dict(
            iou_thr=iou_thr,
            contours=contours,
            localizer=current_localizer(localizer),
            eval_size=size,
            grid=check_drawing(grid),
        )
        self.threshold = next(iter(given.values()))[name]
        self.out_dir = out_dir

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """A row for each sample."""
        self.results += [analyse_sample(sample, self.threshold, **self.options) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Percentages; the tables are written by the main process, where this is called."""
        if self.out_dir is None:
            (total,) = tabulate(results, lambda row: 'all')
            return {f'error_{kind}': total[kind] for kind in KINDS}
        return write_tables(results, self.out_dir, (self.dataset_meta or {}).get('classes'))
