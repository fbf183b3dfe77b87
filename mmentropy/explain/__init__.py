# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps from any classifier."""

from __future__ import annotations

from torch import nn

from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
from mmentropy._moved import keep_old_names
from mmentropy.registry import EXPLAINERS

from .activation import AblationCAM, CenterMap, EigenCAM, RandomMap
from .anatomy import Anatomy, dissect
from .attention import AttentionRollout, GradAttention, LeGrad
from .cam import CAM, EntropyMap, EntropyWeightedCAM
from .explainer import Explainer, Explanation
from .gradient import BagCAMs, FinerCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from .grids import GRIDS, check_grid, find_grid, measured_grid, measured_shift
from .layered import RefineCAM
from .pixelwise import InputGradient, SmoothGrad
from .score_cam import ScoreCAM
from .targets import Question

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
    'hires_cam': 'HiResCAM',
    'finer_cam': 'FinerCAM',
    'refine_cam': 'RefineCAM',
    'bag_cams': 'BagCAMs',
    'eigen_cam': 'EigenCAM',
    'ablation_cam': 'AblationCAM',
    'legrad': 'LeGrad',
    'rollout': 'AttentionRollout',
    'grad_attention': 'GradAttention',
    'input_gradient': 'InputGradient',
    'smooth_grad': 'SmoothGrad',
    'random': 'RandomMap',
    'center': 'CenterMap',
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
    'AblationCAM',
    'Anatomy',
    'AttentionRollout',
    'BagCAMs',
    'CenterMap',
    'EigenCAM',
    'EntropyMap',
    'EntropyWeightedCAM',
    'Explainer',
    'Explanation',
    'FinerCAM',
    'GradAttention',
    'GradCAM',
    'GradCAMPlusPlus',
    'HiResCAM',
    'InputGradient',
    'LayerCAM',
    'LeGrad',
    'Question',
    'RandomMap',
    'RefineCAM',
    'ScoreCAM',
    'SmoothGrad',
    'XGradCAM',
    'build_explainer',
    'check_grid',
    'dissect',
    'find_grid',
    'measured_grid',
    'measured_shift',
]
