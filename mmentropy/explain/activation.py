# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps from the activations of a layer, without gradients; and two controls that see nothing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from mmentropy.ops.mapping import activation_maps as ops
from mmentropy.registry import EXPLAINERS

from .explainer import Explainer, Explanation, explanation
from .targets import Question
from .watching import hooked, last_tensor, run, with_last_tensor

#: Logits without a channel that exist at once, where they are known in closed form.
CHUNK_ENTRIES = 1 << 20


@EXPLAINERS.register_module()
class EigenCAM(Explainer):
    """The first principal component of the locations; one map an image.

    See :func:`mmentropy.ops.mapping.activation_maps.eigen_cam`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> maps = EigenCAM(nn.Sequential(*layers))(torch.rand(2, 3, 16, 16)).maps
    >>> maps.shape, bool(maps.mean().abs() < 1e-6)
    (torch.Size([2, 1, 14, 14]), True)
    """

    class_agnostic = True

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        features, logits = self.features(images)
        return explanation(ops.eigen_cam(features), question.of(logits), logits)


@EXPLAINERS.register_module()
class AblationCAM(Explainer):
    """Channels weighted by the share of the score that goes without them.

    See :func:`mmentropy.ops.mapping.activation_maps.ablation_cam`. Behind global average pooling and a linear layer the
    scores without a channel are known, and no pass is run. Otherwise what stands behind the layer is run on as many
    copies of its output as it has channels; what stands before it runs once an image where the network allows that.

    Args:
        batch_size: copies in one pass.
        **kwargs: see :class:`~mmentropy.explain.explainer.Explainer`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> result = AblationCAM(nn.Sequential(*layers))(torch.rand(1, 3, 16, 16), classes=2)
    >>> result.maps.shape, bool((result.maps >= 0).all())
    (torch.Size([1, 1, 14, 14]), True)
    """

    def __init__(self, model, batch_size: int = 32, **kwargs) -> None:
        super().__init__(model, **kwargs)
        if batch_size < 1:
            raise ValueError(f'batch_size counts copies of an image and is at least 1, got {batch_size}')
        self.batch_size = batch_size

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        features, logits = self.features(images)
        asked = question.of(logits)
        known = self.anatomy.pooling == 'mean'
        ablated = self._by_classifier if known else self._by_passes
        chunk = max(1, CHUNK_ENTRIES // logits.shape[1]) if known else self.batch_size
        chunks = torch.arange(features.shape[1], device=features.device).split(chunk)
        parts = []
        for n in range(len(images)):
            rows = [ablated(images[n : n + 1], features[n : n + 1], logits[n : n + 1], chunk) for chunk in chunks]
            same = torch.full((features.shape[1],), n, device=features.device)
            parts.append(torch.cat([asked.scores(row, same[: len(row)]) for row in rows]).T)
        return explanation(ops.ablation_cam(features, asked.values, torch.stack(parts)), asked, logits)

    def _by_classifier(self, image: Tensor, features: Tensor, logits: Tensor, channels: Tensor) -> Tensor:
        """(B, C) logits without each of these channels, in closed form."""
        weight = self.anatomy.classifier.weight
        return ops.ablated_logits(features[:, channels], logits, weight[:, channels])[0]

    def _by_passes(self, image: Tensor, features: Tensor, logits: Tensor, channels: Tensor) -> Tensor:
        """The same by a pass."""
        size = (image.shape[2], image.shape[3])

        def without(output: object) -> object:
            copies = last_tensor(output)[:1].repeat(len(channels), *[1] * (last_tensor(output).ndim - 1))
            for copy, channel in zip(self.anatomy.to_map(copies, size), channels):  # views into the copies
                copy[channel] = 0
            return with_last_tensor(output, copies)

        return run_changed(self.model, self.anatomy.layer, image, without, len(channels))


def run_changed(
    model: torch.nn.Module, layer: torch.nn.Module, image: Tensor, change: Callable[[object], object], count: int
) -> Tensor:
    """Logits (count, ...) of one image whose output of a layer is replaced by ``count`` changed copies.

    The layers before see the image once. Where a network does not allow a batch that grows on its way, they see as many
    copies of it.
    """
    for copies in (image, image.expand(count, -1, -1, -1)):
        with hooked([layer.register_forward_hook(lambda module, inputs, output: change(output))]):
            try:
                logits = run(model, copies)
            except (RuntimeError, ValueError):
                if len(copies) == count:
                    raise
                continue
        if len(logits) == count:
            return logits
    raise ValueError(f'{type(model).__name__} does not give as many scores as images behind its layer')


class _Control(Explainer):
    """A map that does not depend upon what the network has learnt, at the locations of its layer."""

    class_agnostic = True
    has_place = False

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        features, logits = self.features(images)
        maps = self._drawn(images, (features.shape[2], features.shape[3])).to(features)
        return explanation(maps, question.of(logits), logits)

    @abstractmethod
    def _drawn(self, images: Tensor, map_size: tuple[int, int]) -> Tensor:
        """(N, 1, h, w)."""


@EXPLAINERS.register_module()
class RandomMap(_Control):
    """A control: uniform noise, the same for the same image.

    See :func:`mmentropy.ops.mapping.activation_maps.random_map`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> RandomMap(nn.Sequential(*layers))(torch.rand(2, 3, 16, 16)).maps.shape
    torch.Size([2, 1, 14, 14])
    """

    def _drawn(self, images: Tensor, map_size: tuple[int, int]) -> Tensor:
        return torch.stack([ops.random_map(image, map_size)[None] for image in images])


@EXPLAINERS.register_module()
class CenterMap(_Control):
    """A control: a bump in the middle of the image; see :func:`mmentropy.ops.mapping.activation_maps.center_map`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> maps = CenterMap(nn.Sequential(*layers))(torch.rand(2, 3, 16, 16)).maps
    >>> bool(torch.allclose(maps, maps.flip(3)) and torch.equal(maps[0], maps[1]))
    True
    """

    def _drawn(self, images: Tensor, map_size: tuple[int, int]) -> Tensor:
        size = (images.shape[2], images.shape[3])
        return ops.center_map(map_size, size, self._grid(images)).expand(len(images), 1, -1, -1)
