# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""λ over a grid for each entropy regulariser, on the machinery of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmentropy.experiments.sweep_plot import SweepPoint
from mmentropy.experiments.tables import summarize

from .arguments import LOSSES
from .comparison import Run, figures_of


def loss_settings(loss: str, lambda_: float) -> dict[str, Any]:
    """The head's loss of one point of the sweep.

    Label smoothing (``ls``) has ε = λ/(1+λ): the cross-entropy to smoothed labels whose optimum is that of ``er`` at λ.

    >>> loss_settings('ls', 0.25)['label_smoothing']
    0.2
    """
    chosen = dict(_delete_=True, type=LOSSES[loss], lambda_=lambda_, class_reduction='mean')
    return chosen | dict(lambda_=0.0, label_smoothing=lambda_ / (1 + lambda_)) if loss == 'ls' else chosen


def _point_of(chosen: Mapping[str, Any]) -> tuple[str, float]:
    """Loss and λ that :func:`loss_settings` was asked for."""
    smoothing = chosen.get('label_smoothing')
    if smoothing is not None:
        return 'ls', smoothing / (1 - smoothing)
    return next(name for name, kind in LOSSES.items() if kind == chosen['type']), chosen['lambda_']


def plan_sweep(
    config: str,
    losses: Sequence[str],
    lambdas: Sequence[float],
    seeds: Sequence[int],
    work_dir: str | Path,
    options: Mapping[str, Any] | None = None,
    **evaluating: Mapping[str, Any],
) -> list[Run]:
    """The plain model (λ = 0), and each loss with each λ under ``class_reduction='mean'``; the seeds outermost.

    ``sum`` needs no runs of its own: λ there is Cλ here. ``evaluating`` is
    :class:`~mmentropy.experiments.comparison.Run`'s ``evaluations`` and ``evaluation_options``.

    Raises:
        ValueError: for an unknown loss or a λ that is not positive.
    """
    for loss in losses:
        if loss not in LOSSES:
            raise ValueError(f'the losses are {", ".join(LOSSES)}, not {loss!r}')
    if any(value <= 0 for value in lambdas):
        raise ValueError(f'the λ of the grid must be positive (λ = 0 is always run), got {list(lambdas)}')
    settings = [('lambda0', 'er', 0.0)]
    settings += [(f'{loss}_lambda{value:g}', loss, value) for loss in losses for value in sorted(set(lambdas))]
    runs = []
    for seed in seeds:
        for name, loss, value in settings:
            chosen = {'model.head.loss': loss_settings(loss, value)}
            directory = Path(work_dir) / name / f'seed{seed}'
            runs.append(Run(name, config, seed, directory, {**(options or {}), **chosen}, **evaluating))
    return runs


def class_count(cfg: Config) -> int:
    """How many classes a config's classifier has, without building it.

    Raises:
        ValueError: if the config does not say.

    >>> class_count(Config(dict(data_preprocessor=dict(num_classes=7))))
    7
    """
    model = cfg.get('model') or {}
    for settings in (model.get('head'), cfg.get('data_preprocessor'), model.get('data_preprocessor')):
        if settings and settings.get('num_classes') is not None:
            return int(settings['num_classes'])
    raise ValueError(
        f'{cfg.filename or "the config"} has no data_preprocessor.num_classes and no model.head.num_classes; '
        'set one, for the axis of λ under sum'
    )


def sweep_points(runs: Sequence[Run]) -> list[SweepPoint]:
    """The finished runs of a sweep, seeds together."""
    repeats: dict[str, list] = {}
    settings: dict[str, tuple[str, float]] = {}
    for run in runs:
        if run.state() == 'finished':
            repeats.setdefault(run.name, []).append(figures_of(run))
            settings[run.name] = _point_of(run.options['model.head.loss'])
    return [SweepPoint(*settings[name], figures) for name, figures in summarize(repeats).items()]
