# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Score-CAM: each channel is weighted by the score of the image seen through it. No gradients, D forward passes."""

from __future__ import annotations

import torch
from torch import Tensor

from mmentropy.ops.mapping.gradient_maps import channel_masks, score_cam
from mmentropy.registry import EXPLAINERS

from .explainer import Explainer, Explanation, explanation
from .targets import Question
from .watching import run


@EXPLAINERS.register_module()
class ScoreCAM(Explainer):
    """Score-CAM (Wang et al., CVPR-W 2020); see :func:`mmentropy.ops.mapping.gradient_maps.score_cam`.

    One image costs as many forward passes as the layer has channels, whatever the number of classes.

    Args:
        batch_size: masked copies of an image in one forward pass.
        align_corners: of the bilinear up-sampling of the masks.
        **kwargs: see :class:`~mmentropy.explain.explainer.Explainer`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> result = ScoreCAM(nn.Sequential(*layers))(torch.rand(1, 3, 16, 16), classes=2)
    >>> result.maps.shape, bool((result.maps >= 0).all())
    (torch.Size([1, 1, 14, 14]), True)
    """

    def __init__(self, model, batch_size: int = 32, align_corners: bool = False, **kwargs) -> None:
        super().__init__(model, **kwargs)
        self.batch_size, self.align_corners = batch_size, align_corners

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        features, logits = self.features(images)
        asked = question.of(logits)
        scores = []
        for n, (image, maps) in enumerate(zip(images, features)):
            masks = channel_masks(maps, tuple(image.shape[1:]), self.align_corners)
            rows = torch.full((len(masks),), n, device=images.device)
            parts = [
                asked.scores(run(self.model, image * part[:, None]), rows[: len(part)])
                for part in masks.split(self.batch_size)
            ]
            scores.append(torch.cat(parts).T)
        return explanation(score_cam(features, torch.stack(scores)), asked, logits)
