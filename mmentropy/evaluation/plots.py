# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Plots of an evaluation: curves over thresholds, kinds of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmentropy.ops.localizing.errors import KINDS
from mmentropy.safe_files import written_whole

if TYPE_CHECKING:
    from .box_counter import BoxCounter
    from .case_counter import Counts
    from .pixel_localization import PixelLocalizationMetric

#: One colour a kind, told apart in the common forms of colour blindness.
COLORS = dict(zip(KINDS, ('#009E73', '#999999', '#56B4E9', '#E69F00', '#CC79A7', '#D55E00', '#444444')))


def _figure(columns: int, width: float) -> Any:
    # no pyplot: no window system, and no figure that stays open
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _save(figure: Any, path: str | Path) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=120, format=Path(path).suffix[1:])


def plot_errors(tables: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Stacked bars of the kinds of errors, one bar a group.

    Args:
        tables: rows with ``group``, ``images`` and a percentage for each kind.
        path: of the picture.
    """
    figure, (axis,) = _figure(1, 7.5)
    names = [f'{row["group"]}\n({row["images"]})' for row in tables]
    bottom = np.zeros(len(tables))
    for kind in KINDS:
        heights = np.array([row[kind] for row in tables], dtype=float)
        axis.bar(names, heights, bottom=bottom, color=COLORS[kind], label=kind.replace('_', ' '), width=0.7)
        for i, height in enumerate(heights):
            if height >= 6:  # a number in a flatter bar would not be read
                axis.text(i, bottom[i] + height / 2, f'{height:.0f}', ha='center', va='center', fontsize=8)
        bottom += heights
    axis.set(ylim=(0, 100), ylabel='images (%)', xlabel='size of the object, share of the image (images)')
    figure.legend(loc='outside right upper', frameon=False)
    _save(figure, path)


def plot_curves(panels: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Curves over thresholds.

    Args:
        panels: for each, ``xlabel``, ``ylabel`` and ``curves``: label → (x, y); ``marks``: label → (x, y), optional.
        path: of the picture.
    """
    figure, axes = _figure(len(panels), 5.2 * len(panels))
    for axis, panel in zip(axes, panels):
        for label, (x, y) in panel['curves'].items():
            (line,) = axis.plot(x, y, label=label, linewidth=1.5)
            if label in panel.get('marks', {}):
                axis.plot(*panel['marks'][label], 'o', color=line.get_color(), markersize=5)
        axis.set(xlabel=panel['xlabel'], ylabel=panel['ylabel'], ylim=(0, 100.5), xlim=(0, panel.get('xmax', 1)))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=9, loc='lower left', bbox_to_anchor=(0, 1))
    _save(figure, path)


def box_panels(counter: BoxCounter, totals: Counts) -> list[dict[str, Any]]:
    """Accuracy over thresholds at each δ, with the maximum marked."""
    accuracy = counter.accuracy(totals)
    thresholds = counter.thresholds[: counter.oracle_size]
    curves, marks = {}, {}
    for delta in counter.iou_thrs:
        curve = accuracy[str(delta)][: counter.oracle_size]
        best = int(curve.argmax())
        label = f'IoU ≥ {delta} %: {curve[best]:.1f} at {thresholds[best]:.3f}'
        curves[label] = (thresholds, curve)
        marks[label] = (thresholds[best], curve[best])
    return [{'xlabel': 'threshold', 'ylabel': 'box accuracy (%)', 'curves': curves, 'marks': marks}]


def pixel_panels(metric: PixelLocalizationMetric, totals: Counts) -> list[dict[str, Any]]:
    """Precision and recall over thresholds, and precision over recall."""
    from mmentropy.ops.localizing.pixel_metrics import confusions  # with torch, which boxes do without

    tp, fp, fn, _ = confusions(totals['histogram'])[:, metric.protocol[:-3]].astype(float)
    thresholds = metric.edges[metric.protocol[:-3]]
    precision, recall = 100 * tp / np.maximum(tp + fp, 1), 100 * tp / np.maximum(tp + fn, 1)
    over = {'precision': (thresholds, precision), 'recall': (thresholds, recall)}
    return [
        {'xlabel': 'threshold', 'ylabel': 'pixels (%)', 'curves': over},
        {'xlabel': 'recall (%)', 'ylabel': 'precision (%)', 'curves': {'PxAP': (recall, precision)}, 'xmax': 100.5},
    ]
