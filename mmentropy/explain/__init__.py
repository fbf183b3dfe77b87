# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps from any classifier."""

from __future__ import annotations

from torch import nn

from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
from mmentropy._moved import keep_old_names
from mmentropy.registry import EXPLAINERS

from .anatomy import Anatomy, dissect
from .cam import CAM, EntropyMap, EntropyWeightedCAM
from .explainer import Explainer, Explanation
from .gradient import GradCAM, GradCAMPlusPlus, LayerCAM, XGradCAM
from .grids import GRIDS, check_grid, find_grid, measured_grid, measured_shift
from .score_cam import ScoreCAM

#: Names on the command line and in ``Localizer(method=...)``.
METHODS = {
    'cam': 'CAM',
    'entropy': 'EntropyMap',
    'entropy_cam': 'EntropyWeightedCAM',
    'grad_cam': 'GradCAM',
    'grad_cam++': 'GradCAM++',
    'xgrad_cam': 'XGradCAM',
    'layer_cam': 'LayerCAM',
    'score_cam': 'ScoreCAM',
}


def build_explainer(method: str, model: nn.Module, **kwargs) -> Explainer:
    """A map method by its name.

    Args:
        method: one of :data:`METHODS`.
        model: the network.
        **kwargs: options of the method.

    Raises:
        ValueError: for an unknown name.
    """
    if method not in METHODS:
        raise ValueError(f'method must be one of {", ".join(METHODS)}, got {method!r}')
    return EXPLAINERS.get(METHODS[method])(model, **kwargs)


keep_old_names(
    'mmentropy.explain',
    {
        'base': 'mmentropy.explain.explainer',
    },
)

__all__ = [
    'CAM',
    'GRIDS',
    'METHODS',
    'Anatomy',
    'EntropyMap',
    'EntropyWeightedCAM',
    'Explainer',
    'Explanation',
    'GradCAM',
    'GradCAMPlusPlus',
    'LayerCAM',
    'ScoreCAM',
    'XGradCAM',
    'build_explainer',
    'check_grid',
    'dissect',
    'find_grid',
    'measured_grid',
    'measured_shift',
]
