# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""RefineCAM: the maps of several layers, each brought to its place on the finest one, multiplied."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmentropy.ops.mapping.activation_maps import refine_maps, scale_maps
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import move_maps
from mmentropy.registry import EXPLAINERS

from .anatomy import Anatomy
from .explainer import Explainer, Explanation, explanation
from .gradient import gradient_method
from .layers import layers_of_every_size, named_layers
from .targets import Question, batched_grads
from .watching import hooked, last_tensor, run, with_last_tensor


@EXPLAINERS.register_module()
class RefineCAM(Explainer):
    """Maps of several layers multiplied; see :func:`mmentropy.ops.mapping.activation_maps.refine_maps`.

    One forward pass and one backward pass serve all layers, images and ``class_chunk`` scores. A layer's map is brought
    to the locations of the finest one by where both look, not by their sizes: the stages of a ResNet look at places
    half a step apart.

    Args:
        layers: dotted names, or None for the last layers of the smallest sizes of map; see
            :func:`~mmentropy.explain.layers.layers_of_every_size`. A network of one layer gives its base's map, scaled.
        num_layers: how many, where none are named.
        base: the gradient method that draws each layer's map.
        combine: ``product`` or ``mean``.
        **kwargs: see :class:`~mmentropy.explain.explainer.Explainer`.

    Raises:
        ValueError: for another base, another way to combine, or no layer.

    >>> from torch import nn
    >>> body = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()
    >>> model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    >>> RefineCAM(model)(torch.rand(1, 3, 16, 16), classes=2).maps.shape  # as fine as the first convolution
    torch.Size([1, 1, 8, 8])
    """

    def __init__(
        self,
        model,
        layers: Sequence[str] | None = None,
        num_layers: int = 3,
        base: str = 'grad_cam++',
        combine: str = 'product',
        **kwargs,
    ) -> None:
        super().__init__(model, **kwargs)
        if num_layers < 1 or (layers is not None and not layers):
            raise ValueError('RefineCAM needs at least one layer: name some, or count 1 or more')
        refine_maps([torch.zeros(1, 1, 1, 1)], combine)  # refuses another way
        self.layers, self.num_layers, self.combine = layers, num_layers, combine
        self.base = gradient_method(base, model)
        self._found: list[Anatomy] = []

    def _grid(self, inputs: Tensor) -> MapGrid | None:
        """That of the finest layer."""
        return self.grid(self.model, self._stages(inputs)[-1], inputs)

    def _stages(self, inputs: Tensor) -> list[Anatomy]:
        """The layers, deepest first."""
        if not self._found:
            one = inputs[:1]
            named = self.layers is not None
            self._found = (
                sorted(named_layers(self.model, one, self.layers), key=lambda layer: self._locations(layer, one))
                if named
                else layers_of_every_size(self.model, one, self.num_layers)
            )
        return self._found

    def _locations(self, layer: Anatomy, image: Tensor) -> int:
        kept: list[Tensor] = []
        with hooked([layer.layer.register_forward_hook(lambda m, i, output: kept.append(last_tensor(output)))]):
            run(self.model, image)
        return layer.to_map(kept[-1], (image.shape[2], image.shape[3]))[0, 0].numel()

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        layers, size = self._stages(images), (images.shape[2], images.shape[3])
        kept: dict[int, Tensor] = {}

        def keep(number: int, output: object) -> object:
            given = last_tensor(output)
            kept[number] = given if given.requires_grad else given.detach().requires_grad_(True)
            return with_last_tensor(output, kept[number].clone())  # what follows may work in place

        handles = [
            layer.layer.register_forward_hook(lambda m, i, output, n=n: keep(n, output))
            for n, layer in enumerate(layers)
        ]
        with hooked(handles), torch.enable_grad():
            logits = run(self.model, images)
        asked, leaves = question.of(logits), [kept[number] for number in range(len(layers))]
        scores, parts = asked.differentiable(logits), []
        for start in range(0, scores.shape[1], self.class_chunk):
            slopes = batched_grads(scores, leaves, start, start + self.class_chunk)
            drawn = []
            for layer, leaf, by_class in zip(layers, leaves, slopes):
                gradients = torch.stack([layer.to_map(one, size) for one in by_class], 1)
                drawn.append(scale_maps(self.base.combine(layer.to_map(leaf.detach(), size), gradients)))
            parts.append(refine_maps(self._on_the_finest(drawn, images), self.combine))
        return explanation(torch.cat(parts, 1), asked, logits)

    def _on_the_finest(self, maps: list[Tensor], images: Tensor) -> list[Tensor]:
        """All maps at the locations of the last one."""
        grids = [self.grid(self.model, layer, images) for layer in self._stages(images)]
        finest, size = (maps[-1].shape[2], maps[-1].shape[3]), (images.shape[2], images.shape[3])
        return [move_maps(one, grid, finest, grids[-1], size).to(one) for one, grid in zip(maps, grids)]
