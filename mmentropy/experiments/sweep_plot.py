# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The sweet spot: localisation and classification against a regulariser's weight and against the entropy it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmentropy.ops.certainty.regularizer_optimum import optimal_entropy
from mmentropy.safe_files import written_whole

from .tables import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: label, divergence and colour (told apart in the common forms of colour blindness) of each regulariser.
STYLES = {
    'er': ('KL(u‖p), entropy regularisation', 'uniform', '#0072B2'),
    'cp': ('KL(p‖u), confidence penalty', 'confidence', '#D55E00'),
    'jeffreys': ('Jeffreys, their sum', 'jeffreys', '#009E73'),
    'ls': ('label smoothing, ε = λ/(1+λ)', 'uniform', '#CC79A7'),
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
    (loc, top, entropies), (loc_by_entropy, top_by_entropy, legend) = figure.subplots(2, 3)
    sweep = _Sweep.of(points, num_classes, entropy, chosen_by or localization)
    _panel_over_lambda(loc, sweep, localization, 'localisation')
    _panel_over_lambda(top, sweep, classification, 'classification')
    _panel_of_entropy(entropies, sweep)
    _panel_over_entropy(loc_by_entropy, sweep, localization, 'localisation')
    _panel_over_entropy(top_by_entropy, sweep, classification, 'classification')
    _panel_of_names(legend, entropies)
    figure.suptitle(title)
    return figure


@dataclass(frozen=True)
class _Sweep:
    """What every panel draws from.

    Attributes:
        by_loss: points with λ > 0 of each regulariser, by λ.
        plain: those with λ = 0.
        num_classes: C.
        entropy, chosen_by: names of figures.
    """

    by_loss: Mapping[str, list[SweepPoint]]
    plain: list[SweepPoint]
    num_classes: int
    entropy: str
    chosen_by: str

    @classmethod
    def of(cls, points: Sequence[SweepPoint], num_classes: int, entropy: str, chosen_by: str) -> _Sweep:
        """Sort the points."""
        positive = sorted((point for point in points if point.lambda_ > 0), key=lambda point: point.lambda_)
        by_loss = {loss: [point for point in positive if point.loss == loss] for loss in STYLES}
        by_loss = {loss: some for loss, some in by_loss.items() if some}
        return cls(by_loss, [point for point in points if point.lambda_ == 0], num_classes, entropy, chosen_by)

    def best(self, loss: str) -> SweepPoint | None:
        """The best of a regulariser, and of the plain model."""
        return best_point([*self.by_loss[loss], *self.plain], self.chosen_by)


def _panel_over_lambda(axis: Axes, sweep: _Sweep, key: str, title: str) -> None:
    """A figure over λ, with λ of ``sum`` on top."""
    count = sweep.num_classes
    _curves_and_stars(axis, sweep, key, lambda point: point.lambda_)
    axis.set(ylabel=f'{key} (%)', title=title, xscale='log', xlabel='λ, mean over the classes')
    second = axis.secondary_xaxis('top', functions=(lambda x: x / count, lambda x: x * count))
    second.set_xlabel(f'λ, sum over the {count} classes', fontsize=8)
    second.tick_params(labelsize=7)


def _panel_over_entropy(axis: Axes, sweep: _Sweep, key: str, title: str) -> None:
    """A figure over the entropy that was measured beside it."""
    _curves_and_stars(axis, sweep, key, lambda point: _mean(point, sweep.entropy))
    axis.set(ylabel=f'{key} (%)', title=title, xlabel='measured mean entropy (nats)')


def _panel_of_entropy(axis: Axes, sweep: _Sweep) -> None:
    """Measured entropies over λ, and the entropies at which the losses are least."""
    lambdas = [point.lambda_ for some in sweep.by_loss.values() for point in some] or [1e-4, 1]
    grid = np.geomspace(min(lambdas), max(lambdas), 40)
    for number, (loss, some) in enumerate(sweep.by_loss.items()):
        label, divergence, color = STYLES[loss]
        _curve(axis, some, sweep.entropy, lambda point: point.lambda_, f'{label}: measured', color)
        for reduction, line in (('mean', '-'), ('sum', ':')):
            least = [optimal_entropy(lambda_, sweep.num_classes, divergence, reduction) for lambda_ in grid]
            told = '_nolegend_' if number else f'where the loss is least, {reduction}'
            axis.plot(grid, least, line, color=color, alpha=0.6, linewidth=1, label=told)
    _plain_line(axis, sweep, sweep.entropy)
    axis.axhline(np.log(sweep.num_classes), color='0.8', linewidth=1, label='log C')
    axis.set(xscale='log', xlabel='λ', ylabel='entropy (nats)', title='what λ means: mean and sum differ C-fold')


def _panel_of_names(axis: Axes, named: Axes) -> None:
    """What the lines of another panel are."""
    axis.axis('off')
    axis.legend(*named.get_legend_handles_labels(), loc='center', frameon=False)


#: Where a point stands on the horizontal axis; None if that was not measured.
Place = Callable[[SweepPoint], 'float | None']


def _curves_and_stars(axis: Axes, sweep: _Sweep, key: str, place: Place) -> None:
    """Each regulariser's curve, a star at its best, and the plain model's line."""
    for loss, some in sweep.by_loss.items():
        label, _, color = STYLES[loss]
        _curve(axis, some, key, place, label, color)
        best = sweep.best(loss)
        if best is not None and best.lambda_ > 0 and key in best.figures and place(best) is not None:
            axis.plot(place(best), best.figures[key].mean, '*', color=color, markersize=15, zorder=5)
    _plain_line(axis, sweep, key)


def _curve(axis: Axes, points: Sequence[SweepPoint], key: str, place: Place, label: str, color: str) -> None:
    """Means and spreads of the points that have the figure and a place."""
    drawn = [(place(point), point.figures[key]) for point in points if key in point.figures]
    drawn = [(x, figure) for x, figure in drawn if x is not None]
    axis.errorbar(
        [x for x, _ in drawn],
        [figure.mean for _, figure in drawn],
        yerr=[figure.spread or 0 for _, figure in drawn],
        fmt='o-',
        color=color,
        markersize=4,
        linewidth=1.2,
        capsize=2,
        label=label,
    )


def _plain_line(axis: Axes, sweep: _Sweep, key: str) -> None:
    """The plain model, λ = 0, as a dashed line."""
    for point in sweep.plain[:1]:
        if key in point.figures:
            axis.axhline(point.figures[key].mean, color='0.4', linestyle='--', linewidth=1, label='λ = 0')


def _mean(point: SweepPoint, key: str) -> float | None:
    return point.figures[key].mean if key in point.figures else None
