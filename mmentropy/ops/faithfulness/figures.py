# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""All figures of faithfulness by name, computed together: what one of them has found serves the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .concentration import complexity, sparseness
from .perturbation import Perturbations, perturbation_scores
from .sanity import (
    Explain,
    adcc,
    coherency,
    max_sensitivity,
    parameter_randomization,
    random_logit,
)
from .scoring import Model, check_maps, class_logits, constant_maps


@dataclass(frozen=True)
class Figure:
    """What a figure says.

    Attributes:
        better: ``high`` or ``low``.
        unit: ``%`` where the mean is given as a percentage, else what it counts.
        explains: whether it needs maps of other images, classes or weights.
        truth: whether it needs boxes or masks.

    >>> Figure('low').factor, Figure('low', unit='nats').factor
    (100.0, 1.0)
    """

    better: str
    unit: str = '%'
    explains: bool = False
    truth: bool = False

    @property
    def factor(self) -> float:
        """From the figure of an image to the one that is shown."""
        return 100.0 if self.unit == '%' else 1.0


#: Every figure, in the order in which tables show them.
FIGURES: dict[str, Figure] = {
    'average_drop': Figure('low'),
    'increase': Figure('high'),
    'deletion': Figure('low'),
    'insertion': Figure('high'),
    'road': Figure('high'),
    'coherency': Figure('high', explains=True),
    'adcc': Figure('high', explains=True),
    'sparseness': Figure('high'),
    'complexity': Figure('low', 'nats'),
    'max_sensitivity': Figure('low', 'share', explains=True),
    'random_logit': Figure('low', 'correlation', explains=True),
    'parameter_randomization': Figure('low', 'correlation', explains=True),
    'pointing': Figure('high', truth=True),
    'energy': Figure('high', truth=True),
}
_DROPS = ('average_drop', 'increase', 'adcc')
_RANKED = ('deletion', 'insertion', 'road')


def check_figures(metrics: Sequence[str]) -> tuple[str, ...]:
    """Names of :data:`FIGURES`, each once.

    Raises:
        ValueError: for another name, or none at all.

    >>> check_figures(['road', 'deletion', 'road'])
    ('road', 'deletion')
    """
    if isinstance(metrics, str) or not metrics:
        raise ValueError(f'metrics must be a list of names among {", ".join(FIGURES)}, got {metrics!r}')
    wrong = [name for name in metrics if name not in FIGURES]
    if wrong:
        raise ValueError(f'{wrong[0]!r} is no figure of faithfulness: known are {", ".join(FIGURES)}')
    return tuple(dict.fromkeys(metrics))


def faithfulness_figures(
    model: Model,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    metrics: Sequence[str],
    explain: Explain | None = None,
    seeds: Sequence[int] | None = None,
    sensitivity: dict[str, Any] | None = None,
    randomization: dict[str, Any] | None = None,
    faster: Model | None = None,
    **options: Any,
) -> dict[str, Tensor]:
    """Figures of each image of a batch.

    Args:
        model: the network in evaluation mode; see :func:`~.perturbation.perturbation_scores`.
        images: (N, 3, H, W) normalised network inputs.
        maps: (N, H, W) in [0, 1], of the classes.
        classes: (N,) the class asked about.
        metrics: names of :data:`FIGURES` that need no ground truth.
        explain: gives maps (N, H, W) in [0, 1] of any images and classes, by the model as it is at that moment; needed
            by the figures that explain again.
        seeds: of whatever is random, one an image; None numbers them.
        sensitivity: ``radius`` and ``samples`` of :func:`~.sanity.max_sensitivity`.
        randomization: ``stages`` and ``seed`` of :func:`~.sanity.parameter_randomization`.
        faster: a copy of the model that is faster to ask, see :func:`~.inference_copy.inference_copy`.
        **options: of :func:`~.perturbation.perturbation_scores`.

    Returns:
        name → (N,) float32, as shares, not percentages. NaN where an image has none: a constant map ranks no pixels, so
        it has no curves.

    Raises:
        ValueError: for maps that do not fit, a figure that needs ``explain`` without it, or one that needs boxes.

    >>> model = lambda x: torch.stack([x[:, 0, 0, 0], 0 * x[:, 0, 0, 0]], 1)  # reads the first pixel
    >>> maps = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    >>> names = ['average_drop', 'deletion', 'sparseness']
    >>> faithfulness_figures(model, torch.full((1, 3, 2, 2), 9.0), maps, torch.tensor([0]), names, steps=4)
    {'average_drop': tensor([0.]), 'deletion': tensor([0.5625]), 'sparseness': tensor([0.7500])}
    """
    metrics = check_figures(metrics)
    told = [name for name in metrics if FIGURES[name].truth]
    if told:
        raise ValueError(f'{told[0]} compares maps with boxes or masks: see mmentropy.ops.faithfulness.agreement')
    again = [name for name in metrics if FIGURES[name].explains]
    if again and explain is None:
        raise ValueError(f'{again[0]} explains again, and no function explain(images, classes) was given')
    maps = check_maps(images, maps, unit=True)
    seeds = list(range(len(images))) if seeds is None else list(seeds)
    found: dict[str, Tensor] = {'sparseness': sparseness(maps), 'complexity': complexity(maps)}
    found |= _altered(faster or model, images, maps, classes, metrics, seeds, options)
    if explain is not None:
        found |= _explained(images, maps, classes, metrics, explain, seeds, found, sensitivity or {})
        if 'random_logit' in metrics:
            with torch.no_grad():
                num_classes = class_logits(model, images[:1], options.get('score', 'probability')).shape[1]
            found['random_logit'] = random_logit(images, maps, explain, classes, num_classes, seeds).rank
        if 'parameter_randomization' in metrics:
            if not isinstance(model, nn.Module):
                raise ValueError(
                    f'parameter_randomization draws the weights of an nn.Module, got {type(model).__name__}'
                )
            alike = parameter_randomization(model, images, maps, explain, classes, **(randomization or {}))
            found['parameter_randomization'] = alike.rank
    return {name: found[name] for name in metrics}


def _altered(
    model: Model,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    metrics: Sequence[str],
    seeds: list[int],
    options: dict[str, Any],
) -> dict[str, Tensor]:
    """Figures of altered images; constant maps are asked for the drop alone."""
    which = [name for name in _RANKED if name in metrics]
    drop = ['drop'] if any(name in metrics for name in _DROPS) else []
    if not which and not drop:
        return {}
    constant = constant_maps(maps)
    parts: list[tuple[Tensor, Perturbations]] = []
    for rows, asked in ((~constant, [*drop, *which]), (constant, drop)):
        numbers = rows.nonzero()[:, 0]
        if len(numbers) and asked:
            mine = [seeds[i] for i in numbers.tolist()]
            scores = perturbation_scores(model, images[rows], maps[rows], classes[rows], asked, seeds=mine, **options)
            parts.append((numbers, scores))
    found = {name: torch.full((len(images),), torch.nan, device=images.device) for name in (*_DROPS[:2], *which)}
    for numbers, scores in parts:
        if drop:
            found['average_drop'][numbers], found['increase'][numbers] = scores.drop, scores.increase
        for name, curve in (('deletion', scores.deletion), ('insertion', scores.insertion)):
            if curve is not None:
                found[name][numbers] = curve.area
        if scores.road_most is not None:
            found['road'][numbers] = scores.road
    return found


def _explained(
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    metrics: Sequence[str],
    explain: Explain,
    seeds: list[int],
    found: dict[str, Tensor],
    sensitivity: dict[str, Any],
) -> dict[str, Tensor]:
    """Figures of maps of altered images."""
    more: dict[str, Tensor] = {}
    if 'coherency' in metrics or 'adcc' in metrics:
        more['coherency'] = coherency(maps, explain(images * maps[:, None], classes))
        if 'adcc' in metrics:
            more['adcc'] = adcc(more['coherency'], maps, found['average_drop'])
    if 'max_sensitivity' in metrics:
        more['max_sensitivity'] = max_sensitivity(images, maps, explain, classes, seeds=seeds, **sensitivity)
    return more
