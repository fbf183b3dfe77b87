# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The sweet spot: localisation and classification against a regulariser's weight and against the entropy it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmentropy.ops.certainty.regularizer_optimum import optimal_entropy
from mmentropy.safe_files import written_whole

from .tables import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: label, divergence and colour (told apart in the common forms of colour blindness) of each regulariser.
STYLES = {
    'er': ('KL(u‖p), entropy regularisation', 'uniform', '#0072B2'),
    'cp': ('KL(p‖u), confidence penalty', 'confidence', '#D55E00'),
    'jeffreys': ('Jeffreys, their sum', 'jeffreys', '#009E73'),
}


@dataclass(frozen=True)
class SweepPoint:
    """One weight of one regulariser: ``loss`` (a key of ``STYLES``), λ under ``class_reduction='mean'``, figures."""

    loss: str
    lambda_: float
    figures: Mapping[str, Measured]


def best_point(points: Sequence[SweepPoint], key: str) -> SweepPoint | None:
    """The point with the highest mean of a figure; the smaller λ where two agree."""
    there = sorted((point for point in points if key in point.figures), key=lambda point: point.lambda_)
    return max(there, key=lambda point: point.figures[key].mean) if there else None


def plot_sweep(points: Sequence[SweepPoint], path: str | Path, num_classes: int, **options) -> None:
    """Write :func:`sweep_figure` as a picture, to a temporary name first."""
    figure = sweep_figure(points, num_classes, **options)
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=120, format=Path(path).suffix[1:])


def sweep_figure(
    points: Sequence[SweepPoint],
    num_classes: int,
    localization: str = 'wsol/MaxBoxAccV2',
    classification: str = 'accuracy/top1',
    entropy: str = 'wsol/entropy',
    chosen_by: str | None = None,
    title: str = '',
) -> Figure:
    """Draw the sweep.

    Upper row, against λ: localisation, classification, and the measured mean entropy beside the one at which the loss
    is least (for ``mean`` and, dotted, for ``sum``). Lower row: the two against the measured entropy. λ = 0 is a dashed
    line. A star marks each regulariser's best by ``chosen_by``.

    Args:
        points: of one or more regularisers; those with λ = 0 are the plain model, whatever their ``loss``.
        num_classes: C, which parts λ of ``mean`` from λ of ``sum``.
        localization, classification, entropy: which figures; percentages, and nats.
        chosen_by: the figure that chooses; ``localization`` by default.
        title: above all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3)
    plain = [point for point in points if point.lambda_ == 0]
    by_loss = {loss: sorted((p for p in points if p.loss == loss and p.lambda_ > 0), key=lambda p: p.lambda_)
               for loss in STYLES}  # fmt: skip
    by_loss = {loss: some for loss, some in by_loss.items() if some}
    for row, x_name in enumerate((None, entropy)):
        for axis, key, label in zip(axes[row], (localization, classification), ('localisation', 'classification')):
            for loss, some in by_loss.items():
                _curve(axis, some, x_name, key, STYLES[loss])
                best = best_point([*some, *plain], chosen_by or localization)
                there = best is not None and key in best.figures and (x_name is None or x_name in best.figures)
                if there and best.lambda_ > 0:
                    x = best.lambda_ if x_name is None else best.figures[entropy].mean
                    axis.plot(x, best.figures[key].mean, '*', color=STYLES[loss][2], markersize=15, zorder=5)
            for point in plain[:1]:
                if key in point.figures:
                    axis.axhline(point.figures[key].mean, color='0.4', linestyle='--', linewidth=1, label='λ = 0')
            axis.set(ylabel=f'{key} (%)', title=label)
            _x_axis(axis, x_name, num_classes)
    _entropy_panel(axes[0, 2], by_loss, plain, entropy, num_classes)
    axes[1, 2].axis('off')
    handles, labels = axes[0, 2].get_legend_handles_labels()
    axes[1, 2].legend(handles, labels, loc='center', frameon=False)
    figure.suptitle(title)
    return figure


def _curve(axis, points: Sequence[SweepPoint], x_name: str | None, key: str, style: tuple[str, str, str]) -> None:
    there = [p for p in points if key in p.figures and (x_name is None or x_name in p.figures)]
    xs = [p.lambda_ if x_name is None else p.figures[x_name].mean for p in there]
    ys = [p.figures[key].mean for p in there]
    spreads = [p.figures[key].spread or 0 for p in there]
    axis.errorbar(
        xs, ys, yerr=spreads, fmt='o-', color=style[2], markersize=4, linewidth=1.2, capsize=2, label=style[0]
    )


def _x_axis(axis, x_name: str | None, num_classes: int) -> None:
    if x_name is not None:
        axis.set_xlabel('measured mean entropy (nats)')
        return
    axis.set_xscale('log')
    axis.set_xlabel('λ, mean over the classes')
    second = axis.secondary_xaxis('top', functions=(lambda x: x / num_classes, lambda x: x * num_classes))
    second.set_xlabel(f'λ, sum over the {num_classes} classes', fontsize=8)
    second.tick_params(labelsize=7)


def _entropy_panel(axis, by_loss, plain, entropy: str, num_classes: int) -> None:
    """Measured entropies over λ, and the entropies at which the losses are least."""
    lambdas = [p.lambda_ for some in by_loss.values() for p in some] or [1e-4, 1]
    grid = np.geomspace(min(lambdas), max(lambdas), 40)
    for loss, some in by_loss.items():
        label, divergence, color = STYLES[loss]
        _curve(axis, some, None, entropy, (f'{label}: measured', divergence, color))
        for reduction, line in (('mean', '-'), ('sum', ':')):
            best = [optimal_entropy(lambda_, num_classes, divergence, reduction) for lambda_ in grid]
            told = f'where the loss is least, {reduction}' if loss == next(iter(by_loss)) else '_nolegend_'
            axis.plot(grid, best, line, color=color, alpha=0.6, linewidth=1, label=told)
    for point in plain[:1]:
        if entropy in point.figures:
            axis.axhline(point.figures[entropy].mean, color='0.4', linestyle='--', linewidth=1, label='λ = 0')
    axis.axhline(np.log(num_classes), color='0.8', linewidth=1, label='log C')
    axis.set(xscale='log', xlabel='λ', ylabel='entropy (nats)', title='what λ means: mean and sum differ C-fold')
