# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Entropy-based feature pooling as an mmpretrain neck."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from mmentropy.ops.entropy import MAPPINGS, SCORES, Mapping, Score, entropy_weights, location_entropy, weighted_pool
from mmentropy.registry import MODELS

from .tied_pooling import TiedPooling


@MODELS.register_module()
class EntropyPooling(TiedPooling):
    r"""Pool features by how certain the class prediction is at each location, after Wan et al. (EFW, ICCV 2019).

    .. math:: H_i = H(\mathrm{softmax}(W f_i + b)),\quad w_i \propto m(H_i),\quad f = \sum_i w_i f_i

    The classifier (W, b) is the head's own: :class:`~mmentropy.models.LocalizationClassifier` ties it. Since the
    weights sum to one, the pooled logits are the weighted mean of the location logits. Inside a stock
    ``ImageClassifier`` give ``num_classes`` and ``in_channels``: the neck then owns its scorer, which learns through
    the weights.

    Args:
        mapping: from entropy to weight, see :func:`~mmentropy.ops.entropy.entropy_weights`.
        temperature: T of ``mapping='exp'``, in nats.
        gamma: power of the weights.
        mix: share of the plain mean (GAP) in the pooled features, in [0, 1].
        detach: whether the weights are constants for the gradient.
        topk: entropy among the best k classes of a location only.
        score: ``softmax``, or ``sigmoid`` for multi-label models.
        num_classes, in_channels: give both to own a scorer, neither to be tied.
        chunk_size: classes whose location logits may exist at once; None takes all (see ``location_entropy``).
        eps: floor of the ``kl`` and ``linear`` mappings.

    Shape:
        (B, D, H, W), or a backbone's tuple whose last entry that is; gives (B, D), or a tuple with the earlier maps
        averaged.
    """

    def __init__(
        self,
        mapping: Mapping = 'exp',
        temperature: float = 1.0,
        gamma: float = 1.0,
        mix: float = 0.0,
        detach: bool = False,
        topk: int | None = None,
        score: Score = 'softmax',
        num_classes: int | None = None,
        in_channels: int | None = None,
        chunk_size: int | None = None,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if mapping not in MAPPINGS:
            raise ValueError(f'EntropyPooling: mapping must be one of {MAPPINGS}, got {mapping!r}')
        if score not in SCORES:
            raise ValueError(f'EntropyPooling: score must be one of {SCORES}, got {score!r}')
        if not 0 <= mix <= 1:
            raise ValueError(f'EntropyPooling: mix is the share of the plain mean and must be in [0, 1], got {mix}')
        if (num_classes is None) != (in_channels is None):
            raise ValueError('EntropyPooling: give num_classes and in_channels together (own scorer) or neither (tied)')
        if num_classes is not None and detach:
            raise ValueError('EntropyPooling: its own scorer learns through the weights only, so detach must be False')
        self.mapping, self.temperature, self.gamma, self.mix = mapping, temperature, gamma, mix
        self.detach, self.topk, self.score, self.chunk_size, self.eps = detach, topk, score, chunk_size, eps
        if num_classes is not None:
            self.scorer = nn.Linear(in_channels, num_classes)

    def entropy(self, features: Tensor) -> Tensor:
        """Location entropy (B, H, W) in nats of a (B, D, H, W) feature map."""
        linear = self.classifier
        return location_entropy(features, linear.weight, linear.bias, self.score, self.topk, self.chunk_size)

    def weights(self, features: Tensor) -> Tensor:
        """Location weights (B, H, W), summing to one over the locations."""
        num_classes = self.classifier.weight.shape[0]
        outcomes = 2 if self.score == 'sigmoid' else min(self.topk or num_classes, num_classes)
        with torch.no_grad() if self.detach else nullcontext():
            return entropy_weights(
                self.entropy(features), outcomes, self.mapping, self.temperature, self.gamma, self.eps
            )

    def pool(self, features: Tensor) -> Tensor:
        return weighted_pool(features, self.weights(features), self.mix)

    def extra_repr(self) -> str:
        return (
            f'mapping={self.mapping!r}, temperature={self.temperature}, gamma={self.gamma}, mix={self.mix}, '
            f'detach={self.detach}, topk={self.topk}, score={self.score!r}, {self.tie_repr()}'
        )
