# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One self-contained page for a run: settings, figures, curves, and a gallery to sort and filter."""

from __future__ import annotations

import base64
import html
import json
import math
from pathlib import Path

import numpy as np

from mmentropy.ops.localizing.boxes import box_iou
from mmentropy.ops.localizing.errors import KINDS, localization_error
from mmentropy.ops.localizing.map_boxes import boxes_from_map
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.overlay import colorize_map
from mmentropy.ops.mapping.scaling import upsample_map

from .report_data import ReportData, Sample
from .report_hook import THRESHOLDS

DELTAS = (30, 50, 70)
BOX_SIZE = 224
TEMPLATE = Path(__file__).with_name('report.html')


def box_curves(data: ReportData) -> dict[str, list[float]]:
    """BoxAcc (per cent) over :data:`THRESHOLDS`, for each IoU of :data:`DELTAS`; empty without boxes."""
    curves = [sample.best_iou for sample in data.samples if sample.best_iou is not None]
    if not curves:
        return {}
    table = np.stack(curves)
    return {str(delta): (100 * (table >= delta / 100).mean(0)).round(2).tolist() for delta in DELTAS}


def entropy_histogram(data: ReportData, bins: int = 30) -> dict[str, list[float]]:
    """Counts of the predictions' entropy (nats), right and wrong ones apart, between the bins' edges."""
    pairs = [(s.entropy, s.label == s.prediction) for s in data.samples if math.isfinite(s.entropy) and s.label >= 0]
    if not pairs:
        return {}
    values, right = np.array([v for v, _ in pairs]), np.array([r for _, r in pairs])
    edges = np.linspace(0, max(values.max(), 1e-6), bins + 1)
    return {
        'edges': edges.round(4).tolist(),
        'right': np.histogram(values[right], edges)[0].tolist(),
        'wrong': np.histogram(values[~right], edges)[0].tolist(),
    }


def describe(sample: Sample, threshold: float) -> dict:
    """A sample of the gallery: the box of the min-max normalised map's largest component above the threshold, its IoU
    and kind of mistake, all as JSON."""
    entry = {
        'name': sample.name,
        'label': sample.label,
        'prediction': sample.prediction,
        'score': _number(sample.score),
        'entropy': _number(sample.entropy),
        'boxes': sample.boxes.astype(float).round(4).tolist(),
        'thumb': base64.b64encode(sample.thumb or b'').decode(),
    }
    boxes_of_map = np.zeros((0, 4))
    grid = None if sample.grid is None else MapGrid.from_array(sample.grid)
    if sample.cam is not None:
        entry['cam'] = _encode_map(sample.cam, grid)
        boxes_of_map = boxes_from_map(upsample_map(sample.cam, (BOX_SIZE, BOX_SIZE), grid=grid), threshold)
        entry['found'] = (boxes_of_map / BOX_SIZE).astype(float).round(4).tolist()
        if len(sample.boxes):
            # Both corners counted, as in the metrics: the last column is x1 − 1.
            truths, boxes = sample.boxes * BOX_SIZE - (0, 0, 1, 1), boxes_of_map - (0, 0, 1, 1)
            box = boxes[0] if len(boxes) else None
            entry['iou'] = 0.0 if box is None else _number(float(box_iou(boxes, truths).max()))
            class_right = sample.prediction in (-1, sample.label)  # without predictions no class is wrong
            entry['error'] = KINDS.index(localization_error(box, truths, class_right))
    if sample.entropy_map is not None:
        values = sample.entropy_map.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        entry['entropy_map'] = _encode_map(
            np.round(255 * (values - low) / max(high - low, 1e-9)).astype(np.uint8), grid
        )
        entry['entropy_range'] = [round(low, 3), round(high, 3)]
    return entry


def render_report(data: ReportData, title: str, threshold: float | None = None) -> str:
    """The page.

    Args:
        data: what the test kept.
        title: heading.
        threshold: for the boxes shown; None takes the best for BoxAcc@50 on this very split, and says so.

    Returns:
        HTML that asks nothing of the network. All text of the run (class names, file names, config) goes in as data and
        is set as text, never as markup.
    """
    curves = box_curves(data)
    chosen = threshold
    if chosen is None:
        chosen = float(THRESHOLDS[int(np.argmax(curves['50']))]) if curves else 0.2
    shown = [sample for sample in data.samples if sample.thumb is not None]
    content = {
        'title': title,
        'facts': {**data.facts, 'images': str(len(data.samples)), 'in the gallery': str(len(shown))},
        'threshold': round(chosen, 4),
        'thresholdIsOracle': threshold is None and bool(curves),
        'metrics': {key: _number(value) for key, value in data.metrics.items()},
        'config': data.config,
        'classes': list(data.classes),
        'errors': [kind.replace('_', ' ') for kind in KINDS],
        'thresholds': THRESHOLDS.round(4).tolist(),
        'curves': curves,
        'histogram': entropy_histogram(data),
        'colours': {name: _encode_colours(name) for name in ('turbo', 'viridis')},
        'samples': [describe(sample, chosen) for sample in shown],
    }
    # In a script element only "</script" and "<!--" could end the data: no "<" is left in it.
    packed = json.dumps(content, ensure_ascii=False, allow_nan=False).replace('<', '\\u003c')
    page = TEMPLATE.read_text(encoding='utf-8')
    return page.replace('@@TITLE@@', html.escape(title)).replace('@@DATA@@', packed)


def _encode_colours(name: str) -> str:
    """The 256 colours of a colour map, R G B after one another."""
    return base64.b64encode(colorize_map(np.arange(256)[None] / 255, name).tobytes()).decode()


def _number(value: float) -> float | None:
    """Four digits; JSON has no NaN."""
    return round(float(value), 4) if math.isfinite(value) else None


def _encode_map(cam: np.ndarray, grid: MapGrid | None) -> dict:
    """A map as JSON. ``place`` says which of its rows is at the share s of a picture's height, a + b·s, as (a, b), and
    which of its columns at a share of the width."""
    height, width = cam.shape
    grid = grid or MapGrid.half_pixel((height, width), (height, width))
    place = [
        (round((-0.5 - start) / step, 6), round(size / step, 6))
        for start, step, size in zip(grid.start, grid.step, grid.size)
    ]
    return {'h': height, 'w': width, 'data': base64.b64encode(cam.tobytes()).decode(), 'place': place}
