# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps from the gradient of the class scores, batched over images and classes."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from mmentropy.ops.mapping import gradient_maps as ops
from mmentropy.ops.mapping.score_functions import REFERENCES, finer_scores
from mmentropy.registry import EXPLAINERS

from .anatomy import Anatomy
from .explainer import Explainer, Explanation, explanation
from .targets import Question, ScoreFunction, batched_grad
from .watching import hooked, last_tensor, run, with_last_tensor


class GradientExplainer(Explainer):
    """A method that reads feature map and gradient.

    Behind global average pooling and a linear layer the gradient is the classifier's row over h·w (of a score function,
    a mixture of rows): no backward pass is run. Otherwise the feature map is cut from the graph, so that the backward
    passes go through what stands behind it and no further; one pass serves all images and ``class_chunk`` classes.
    """

    @abstractmethod
    def combine(self, features: Tensor, gradients: Tensor) -> Tensor:
        """Maps (N, K, h, w) from features (N, D, h, w) and gradients (N, K, D, h, w) or (N, K, D, 1, 1)."""

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        if self.anatomy.pooling == 'mean':
            features, logits = self.features(images)
            asked = question.of(logits)
            rows = asked.rows(self.anatomy.classifier.weight, logits)
            return explanation(self.closed_form(features, rows), asked, logits)
        leaf, logits = run_from(self.model, self.anatomy, images)
        asked, size = question.of(logits), (images.shape[2], images.shape[3])
        scores, features = asked.differentiable(logits), self.anatomy.to_map(leaf.detach(), size)
        parts = []
        for start in range(0, scores.shape[1], self.class_chunk):
            by_class = batched_grad(scores, leaf, start, start + self.class_chunk)
            gradients = torch.stack([self.anatomy.to_map(one, size) for one in by_class], 1)
            parts.append(self.combine(features, gradients))
        return explanation(torch.cat(parts, 1), asked, logits)

    def closed_form(self, features: Tensor, rows: Tensor) -> Tensor:
        """Maps from the rows (N, K, D) of a linear classifier behind global average pooling."""
        return self.combine(features, ops.mean_pool_gradients(rows, features[0, 0].numel()))


def run_from(model: nn.Module, anatomy: Anatomy, images: Tensor) -> tuple[Tensor, Tensor]:
    """One forward pass whose graph starts at a layer's output: that output, a leaf, and the logits."""
    kept: list[Tensor] = []

    def restart(module, inputs, output):
        leaf = last_tensor(output).detach().requires_grad_(True)
        kept.append(leaf)
        # A clone: what follows may work in place, which a leaf does not allow.
        return with_last_tensor(output, leaf.clone())

    with hooked([anatomy.layer.register_forward_hook(restart)]), torch.enable_grad():
        logits = run(model, images)
    return kept[-1], logits


@EXPLAINERS.register_module()
class GradCAM(GradientExplainer):
    """Channels weighted by their mean gradient; see :func:`mmentropy.ops.mapping.gradient_maps.grad_cam`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5, bias=False)
    >>> result = GradCAM(nn.Sequential(*layers))(torch.rand(1, 3, 16, 16), classes=2)
    >>> result.maps.shape, bool((result.maps >= 0).all())
    (torch.Size([1, 1, 14, 14]), True)
    """

    def combine(self, features: Tensor, gradients: Tensor) -> Tensor:
        return ops.grad_cam(features, gradients)


@EXPLAINERS.register_module(name='GradCAM++')
class GradCAMPlusPlus(GradientExplainer):
    """Positive gradients weighted location by location; see
    :func:`mmentropy.ops.mapping.gradient_maps.grad_cam_plus_plus`.

    Args:
        eps: added to the denominator of the weights.
        **kwargs: see :class:`~mmentropy.explain.explainer.Explainer`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> GradCAMPlusPlus(nn.Sequential(*layers))(torch.rand(1, 3, 16, 16), classes=[[0, 3]]).maps.shape
    torch.Size([1, 2, 14, 14])
    """

    def __init__(self, model, eps: float = 1e-12, **kwargs) -> None:
        super().__init__(model, **kwargs)
        self.eps = eps

    def combine(self, features: Tensor, gradients: Tensor) -> Tensor:
        return ops.grad_cam_plus_plus(features, gradients, self.eps)


@EXPLAINERS.register_module()
class XGradCAM(GradientExplainer):
    """Gradients weighted by the activations; see :func:`mmentropy.ops.mapping.gradient_maps.xgrad_cam`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> model, images = nn.Sequential(*layers), torch.rand(1, 3, 16, 16)
    >>> torch.allclose(XGradCAM(model)(images).maps, GradCAM(model)(images).maps, atol=1e-6)  # behind GAP they agree
    True
    """

    def combine(self, features: Tensor, gradients: Tensor) -> Tensor:
        return ops.xgrad_cam(features, gradients)


@EXPLAINERS.register_module()
class LayerCAM(GradientExplainer):
    """Positive gradients times activations, location by location.

    See :func:`mmentropy.ops.mapping.gradient_maps.layer_cam`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> LayerCAM(nn.Sequential(*layers), target_layer='0')(torch.rand(1, 3, 16, 16)).maps.shape  # of any layer
    torch.Size([1, 5, 14, 14])
    """

    def combine(self, features: Tensor, gradients: Tensor) -> Tensor:
        return ops.layer_cam(features, gradients)


@EXPLAINERS.register_module()
class HiResCAM(GradientExplainer):
    """Gradients times activations, location by location; see :func:`mmentropy.ops.mapping.gradient_maps.hires_cam`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> model, images = nn.Sequential(*layers), torch.rand(1, 3, 16, 16)
    >>> torch.allclose(HiResCAM(model)(images).maps, GradCAM(model)(images).maps, atol=1e-6)  # behind GAP they agree
    True
    """

    def combine(self, features: Tensor, gradients: Tensor) -> Tensor:
        return ops.hires_cam(features, gradients)


@EXPLAINERS.register_module()
class BagCAMs(GradientExplainer):
    """Every location's gradient as a localizer of its own; see :func:`mmentropy.ops.mapping.gradient_maps.bag_cams`.

    The score is the log-probability of a class, of a multi-label model (``score='sigmoid'``) its log-sigmoid; another
    ``score_function`` takes its place.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> BagCAMs(nn.Sequential(*layers))(torch.rand(1, 3, 16, 16), classes=2).maps.shape
    torch.Size([1, 1, 14, 14])
    """

    def __init__(self, model, score_function: ScoreFunction | None = None, **kwargs) -> None:
        usual = 'log_sigmoid' if kwargs.get('score') == 'sigmoid' else 'log_probability'
        super().__init__(model, score_function=score_function or usual, **kwargs)

    def combine(self, features: Tensor, gradients: Tensor) -> Tensor:
        return ops.bag_cams(features, gradients)


#: What Finer-CAM and RefineCAM may stand on.
GRADIENT_METHODS: dict[str, type[GradientExplainer]] = {
    'grad_cam': GradCAM,
    'grad_cam++': GradCAMPlusPlus,
    'xgrad_cam': XGradCAM,
    'layer_cam': LayerCAM,
    'hires_cam': HiResCAM,
}


def gradient_method(name: str, model: nn.Module, **options) -> GradientExplainer:
    """One of :data:`GRADIENT_METHODS`.

    Raises:
        ValueError: for another name.
    """
    if name not in GRADIENT_METHODS:
        raise ValueError(f'base must be one of {", ".join(GRADIENT_METHODS)}, got {name!r}')
    return GRADIENT_METHODS[name](model, **options)


@EXPLAINERS.register_module()
class FinerCAM(GradientExplainer):
    """What tells a class from the similar ones; see :func:`mmentropy.ops.mapping.score_functions.finer_scores`.

    Args:
        base: the gradient method that draws the score, one of :data:`GRADIENT_METHODS`.
        gamma: how much of the similar classes is taken off.
        references: how many of them.
        by: ``mean`` of them, or by their ``probability``.
        **kwargs: see :class:`~mmentropy.explain.explainer.Explainer`; the score function is this method's own.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> model, images = nn.Sequential(*layers), torch.rand(1, 3, 16, 16)
    >>> torch.equal(FinerCAM(model, gamma=0.0)(images).maps, GradCAM(model)(images).maps)
    True
    """

    def __init__(
        self,
        model,
        base: str = 'grad_cam',
        gamma: float = 0.6,
        references: int = REFERENCES,
        by: str = 'mean',
        **kwargs,
    ) -> None:
        if kwargs.pop('score_function', 'logit') != 'logit':
            raise ValueError('FinerCAM has a score function of its own; give score_function to its base method')
        if references < 1 or gamma < 0:
            raise ValueError(
                f'references counts classes, 1 or more, and gamma is 0 or more, got {references} and {gamma}'
            )

        def finer(logits: Tensor, table: Tensor) -> Tensor:
            if logits.ndim == 4:
                raise ValueError('FinerCAM tells classes of a classifier apart, and this model is a segmentor')
            return finer_scores(logits, table, gamma, references, by)

        super().__init__(model, score_function=finer, **kwargs)
        self.base = gradient_method(base, model)

    def combine(self, features: Tensor, gradients: Tensor) -> Tensor:
        return self.base.combine(features, gradients)
