# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps at the pixels of the input, from the gradient of the scores by the image."""

from __future__ import annotations

import torch
from torch import Tensor

from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.input_maps import input_gradient, noise_like
from mmentropy.registry import EXPLAINERS

from .explainer import Explainer, Explanation, explanation
from .targets import Asked, Question, batched_grad
from .watching import run


@EXPLAINERS.register_module()
class InputGradient(Explainer):
    """How much a score changes with each pixel; see :func:`mmentropy.ops.mapping.input_maps.input_gradient`.

    One backward pass through the whole network serves all images and ``class_chunk`` scores. Maps are as large as the
    input.

    Args:
        times_input: input times gradient.
        **kwargs: see :class:`~mmentropy.explain.explainer.Explainer`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> InputGradient(nn.Sequential(*layers))(torch.rand(1, 3, 16, 16), classes=2).maps.shape
    torch.Size([1, 1, 16, 16])
    """

    def __init__(self, model, times_input: bool = False, **kwargs) -> None:
        super().__init__(model, **kwargs)
        self.times_input = times_input

    def _grid(self, inputs: Tensor) -> MapGrid | None:
        return HALF_PIXEL if self.grid.kind == 'half_pixel' else MapGrid.of_image((inputs.shape[2], inputs.shape[3]))

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        leaf, logits = self._graph(images)
        asked = question.of(logits)
        return explanation(self._drawn(asked, logits, leaf, images), asked, logits)

    def _graph(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            leaf = images.detach().clone().requires_grad_(True)
            return leaf, run(self.model, leaf)

    def _drawn(self, asked: Asked, logits: Tensor, leaf: Tensor, images: Tensor, rows: Tensor | None = None) -> Tensor:
        """(B, K, H, W), of the images or of copies of them."""
        with torch.enable_grad():
            scores = asked.differentiable(logits, rows)
        shown = images if self.times_input else None
        parts = []
        for start in range(0, scores.shape[1], self.class_chunk):
            gradients = batched_grad(scores, leaf, start, start + self.class_chunk).movedim(0, 1)
            parts.append(input_gradient(gradients, shown))
        return torch.cat(parts, 1)


@EXPLAINERS.register_module()
class SmoothGrad(InputGradient):
    r"""The mean of :class:`InputGradient` over noisy copies of the image (Smilkov et al., 2017, arXiv 1706.03825).

    Args:
        samples: copies.
        noise: their standard deviation, as a share of the image's range.
        batch_size: copies in one pass.
        **kwargs: see :class:`InputGradient`.

    Raises:
        ValueError: for fewer than one copy, or a negative noise.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> model, images = nn.Sequential(*layers), torch.rand(1, 3, 16, 16)
    >>> torch.allclose(SmoothGrad(model, noise=0.0)(images).maps, InputGradient(model)(images).maps)
    True
    """

    def __init__(self, model, samples: int = 16, noise: float = 0.15, batch_size: int = 8, **kwargs) -> None:
        super().__init__(model, **kwargs)
        if samples < 1 or batch_size < 1 or noise < 0:
            raise ValueError(
                'samples and batch_size count copies, 1 or more, and noise is 0 or more, got '
                f'{samples}, {batch_size} and {noise}'
            )
        self.samples, self.noise, self.batch_size = samples, noise, batch_size

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        logits = run(self.model, images)
        asked = question.of(logits)
        maps = []
        for n, image in enumerate(images):
            total = torch.zeros((), device=image.device)
            for noise in noise_like(image, self.samples, self.noise).split(self.batch_size):
                leaf, noisy = self._graph(image + noise)
                rows = torch.full((len(noise),), n, device=image.device)
                total = total + self._drawn(asked, noisy, leaf, image.expand_as(noise), rows).sum(0)
            maps.append(total / self.samples)
        return explanation(torch.stack(maps), asked, logits)
