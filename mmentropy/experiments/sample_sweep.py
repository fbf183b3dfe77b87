# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Few images a class: methods against how many they learn from, on the machinery of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmentropy.experiments.tables import Measured, summarize
from mmentropy.safe_files import written_whole

from .comparison import Run, figures_of, plan_runs

#: Told apart in the common forms of colour blindness.
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')


def plan_sample_sweep(
    configs: Sequence[str],
    per_class: Sequence[int],
    seeds: Sequence[int],
    work_dir: str | Path,
    options: Mapping[str, Any] | None = None,
    **evaluating: Any,
) -> list[Run]:
    """Each config with each number of images a class, the seeds outermost; the seed also chooses the images.

    Raises:
        ValueError: for a number below 1, or two configs of one file name.
    """
    if min(per_class) < 1:
        raise ValueError(f'the numbers of images a class must be at least 1, got {list(per_class)}')
    runs = []
    for seed in seeds:
        for number in sorted(set(per_class)):
            few = dict(_delete_=True, type='mmentropy.FewSamplesSampler', per_class=number, seed=seed)
            chosen = {**(options or {}), 'train_dataloader.sampler': few}
            for run in plan_runs(configs, [seed], Path(work_dir) / f'{number}_a_class', chosen, **evaluating):
                name = f'{run.name} ({number} a class)'
                runs.append(Run(name, run.config, seed, run.directory, run.options, **_judges(run)))
    return runs


def _judges(run: Run) -> dict[str, Any]:
    return dict(evaluations=run.evaluations, evaluation_options=run.evaluation_options)


def sample_points(runs: Sequence[Run]) -> dict[str, dict[int, Mapping[str, Measured]]]:
    """config → images a class → figures of the finished runs, seeds together."""
    repeats: dict[tuple[str, int], list] = {}
    for run in runs:
        if run.state() == 'finished':
            number = run.options['train_dataloader.sampler']['per_class']
            repeats.setdefault((Path(run.config).stem, number), []).append(figures_of(run))
    points: dict[str, dict[int, Mapping[str, Measured]]] = {}
    for (name, number), rows in repeats.items():
        points.setdefault(name, {})[number] = summarize({'': rows})['']
    return points


def plot_sample_sweep(
    points: Mapping[str, Mapping[int, Mapping[str, Measured]]], path: str | Path, keys: Sequence[str]
) -> None:
    """A panel a figure: its mean and spread over the images a class (logarithmic), a line a config."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(keys), 4), layout='constrained')
    FigureCanvasAgg(figure)
    for axis, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys):
        for color, (name, curve) in zip(COLORS * len(points), points.items()):
            there = [(number, figures[key]) for number, figures in sorted(curve.items()) if key in figures]
            spread = [cell.spread or 0 for _, cell in there]
            numbers, means = [n for n, _ in there], [cell.mean for _, cell in there]
            axis.errorbar(numbers, means, spread, fmt='o-', color=color, markersize=4, capsize=2, label=name)
        numbers = sorted({number for curve in points.values() for number in curve})
        axis.set(xscale='log', xlabel='images a class', ylabel=key, title=key)
        axis.set_xticks(numbers, [str(number) for number in numbers])
        axis.minorticks_off()
    axis.legend(frameon=False, fontsize=8)
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=120, format=Path(path).suffix[1:])
