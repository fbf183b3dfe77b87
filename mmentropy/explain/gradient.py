# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps from the gradient of the class scores, batched over images and classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from mmentropy.ops.mapping import gradient_maps as ops
from mmentropy.registry import EXPLAINERS

from .explainer import Classes, Explainer, Explanation, class_table
from .watching import hooked, last_tensor, run, with_last_tensor


class GradientExplainer(Explainer):
    """A method that reads feature map and gradient.

    Behind global average pooling and a linear layer the gradient is the classifier's row over h·w: no backward pass is
    run. Otherwise the feature map is cut from the graph, so that the backward passes go through what stands behind it
    and no further; one pass serves all images and ``class_chunk`` classes.
    """

    @abstractmethod
    def combine(self, features: Tensor, gradients: Tensor) -> Tensor:
        """Maps (N, K, h, w) from features (N, D, h, w) and gradients (N, K, D, h, w) or (N, K, D, 1, 1)."""

    def _maps(self, images: Tensor, classes: Classes) -> Explanation:
        if self.anatomy.pooling == 'mean':
            features, logits = self.features(images)
            table = class_table(classes, logits)
            weight = self.anatomy.classifier.weight
            rows = weight.expand(len(images), -1, -1) if classes is None else weight[table]
            return Explanation(self.closed_form(features, rows), table, logits)
        features, logits, slopes = self._cut(images)
        table = class_table(classes, logits)
        with torch.enable_grad():
            scores = logits.gather(1, table)
        parts = []
        for start in range(0, table.shape[1], self.class_chunk):
            parts.append(self.combine(features, slopes(scores, start)))
        return Explanation(torch.cat(parts, 1), table, logits.detach())

    def closed_form(self, features: Tensor, rows: Tensor) -> Tensor:
        """Maps from the rows (N, K, D) of a linear classifier behind global average pooling."""
        return self.combine(features, ops.mean_pool_gradients(rows, features[0, 0].numel()))

    def _cut(self, images: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor, int], Tensor]]:
        """Forward with the graph starting at the feature map; features, logits, and scores -> gradients."""
        kept: list[Tensor] = []

        def restart(module, inputs, output):
            leaf = last_tensor(output).detach().requires_grad_(True)
            kept.append(leaf)
            # A clone: what follows may work in place, which a leaf does not allow.
            return with_last_tensor(output, leaf.clone())

        size = tuple(images.shape[2:])
        with hooked([self.anatomy.layer.register_forward_hook(restart)]), torch.enable_grad():
            logits = run(self.model, images)
        leaf = kept[-1]

        def slopes(scores: Tensor, start: int) -> Tensor:
            """Gradients (N, k, D, h, w) of the columns from ``start`` on, at most ``class_chunk`` of them."""
            stop = min(start + self.class_chunk, scores.shape[1])
            ones = torch.eye(scores.shape[1], device=scores.device, dtype=scores.dtype)[start:stop, None]
            ones = ones.expand(-1, len(scores), -1)
            try:
                by_class = torch.autograd.grad(scores, leaf, ones, retain_graph=True, is_grads_batched=True)[0]
            except RuntimeError:  # an operation without a batching rule: one class after the other
                by_class = torch.stack([torch.autograd.grad(scores, leaf, one, retain_graph=True)[0] for one in ones])
            return torch.stack([self.anatomy.to_map(one, size) for one in by_class], 1)

        return self.anatomy.to_map(leaf.detach(), size), logits, slopes


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
