# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import cv2
import pytest

from mmentropy.experiments.sweep_plot import STYLES, SweepPoint, best_point, plot_sweep, sweep_figure
from mmentropy.experiments.tables import Measured
from mmentropy.ops.certainty.regularizer_optimum import optimal_entropy


def point(loss: str, lambda_: float, loc: float, top1: float, entropy: float) -> SweepPoint:
    figures = {'wsol/MaxBoxAccV2': loc, 'accuracy/top1': top1, 'wsol/entropy': entropy}
    return SweepPoint(loss, lambda_, {key: Measured(value, 0.5, 2) for key, value in figures.items()})


POINTS = [
    point('er', 0.0, 60, 70, 0.3),
    point('er', 0.1, 62, 71, 0.7),
    point('er', 1.0, 64, 69, 1.6),
    point('cp', 0.1, 61, 70, 0.6),
    point('cp', 1.0, 61, 66, 1.9),
]


def test_best_is_the_highest_and_the_smaller_lambda_where_two_agree():
    assert best_point(POINTS, 'wsol/MaxBoxAccV2').lambda_ == 1.0
    assert best_point([p for p in POINTS if p.loss == 'cp'], 'wsol/MaxBoxAccV2').lambda_ == 0.1
    assert best_point(POINTS, 'nothing') is None


def stars(axis) -> list[tuple[float, float]]:
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() == '*']


def curve(axis, color: str) -> list[tuple[float, float]]:
    line = next(one for one in axis.lines if one.get_color() == color and one.get_marker() == 'o')
    return list(zip(line.get_xdata(), line.get_ydata()))


def test_curves_and_stars_are_where_the_figures_are():
    figure = sweep_figure(POINTS, num_classes=20)
    loc, top1, entropy, loc_by_entropy = figure.axes[:4]
    blue = STYLES['er'][2]
    assert curve(loc, blue) == [(0.1, 62), (1.0, 64)]
    assert curve(top1, blue) == [(0.1, 71), (1.0, 69)]
    assert curve(loc_by_entropy, blue) == [(0.7, 62), (1.6, 64)]
    assert stars(loc) == [(1.0, 64), (0.1, 61)]
    assert stars(top1) == [(1.0, 69), (0.1, 70)]  # chosen by localisation
    assert stars(loc_by_entropy) == [(1.6, 64), (0.6, 61)]
    # What λ means: the optimum for `sum` at λ is that for `mean` at 20 λ.
    solid, dotted = (
        next(
            one for one in entropy.lines if one.get_color() == blue and one.get_linestyle() == style and one.get_alpha()
        )
        for style in ('-', ':')
    )
    assert dotted.get_ydata()[0] == pytest.approx(optimal_entropy(0.1 * 20, 20))
    assert solid.get_ydata()[-1] == pytest.approx(optimal_entropy(1.0, 20))


def test_another_figure_may_choose():
    figure = sweep_figure(POINTS, num_classes=20, chosen_by='accuracy/top1')
    # 'cp' is best at λ = 0 (70, the smaller of two that agree), which has no star.
    assert stars(figure.axes[0]) == [(0.1, 62)]


def test_picture_is_written_whole(tmp_path):
    """Of a sweep that has just begun."""
    path = tmp_path / 'deep' / 'sweep.png'
    plot_sweep(POINTS[:1], path, num_classes=20, title='test')
    assert [file.name for file in path.parent.iterdir()] == ['sweep.png']
    assert cv2.imread(str(path)).shape == (864, 1560, 3)


@pytest.mark.parametrize('missing', ['wsol/entropy', 'accuracy/top1'])
def test_missing_figures_are_left_out(missing):
    points = [SweepPoint(p.loss, p.lambda_, {k: v for k, v in p.figures.items() if k != missing}) for p in POINTS]
    axes = sweep_figure(points, num_classes=20).axes
    assert curve(axes[0], STYLES['er'][2]) == [(0.1, 62), (1.0, 64)]
    assert bool(stars(axes[1])) == (missing != 'accuracy/top1')
    assert bool(stars(axes[3])) == (missing != 'wsol/entropy')
