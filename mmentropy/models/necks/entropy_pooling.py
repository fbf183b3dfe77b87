# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Entropy-based feature pooling as an mmpretrain neck."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from mmentropy.models.option_groups import name_keywords, refuse_unknown, take_group
from mmentropy.ops.certainty.entropy import (
    MAPPINGS,
    SCORES,
    Mapping,
    Score,
    entropy_weights,
    location_entropy,
    weighted_pool,
)
from mmentropy.registry import MODELS

from .tied_pooling import TiedPooling


@dataclass
class LocationEntropy:
    """Options of the entropy; see :func:`~mmentropy.ops.certainty.entropy.location_entropy`.

    Attributes:
        score: ``softmax``, or ``sigmoid`` for multi-label models.
        topk: entropy among the best k classes of a location only; None takes all.
        chunk_size: classes whose location logits may exist at once; None takes all.

    >>> LocationEntropy(topk=5)
    LocationEntropy(score='softmax', topk=5, chunk_size=None)
    """

    score: Score = 'softmax'
    topk: int | None = None
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ValueError(f'EntropyPooling: score must be one of {SCORES}, got {self.score!r}')


@dataclass
class Weighting:
    """Options of the map from entropy to weight; see :func:`~mmentropy.ops.certainty.entropy.entropy_weights`.

    Attributes:
        mapping: ``exp``, ``kl`` or ``linear``.
        temperature: T of ``exp``, in nats.
        gamma: power of the weights.
        eps: floor of ``kl`` and ``linear``.
        detach: whether the weights are constants for the gradient.

    >>> Weighting(mapping='kl', gamma=2.0)
    Weighting(mapping='kl', temperature=1.0, gamma=2.0, eps=1e-06, detach=False)
    """

    mapping: Mapping = 'exp'
    temperature: float = 1.0
    gamma: float = 1.0
    eps: float = 1e-6
    detach: bool = False

    def __post_init__(self) -> None:
        if self.mapping not in MAPPINGS:
            raise ValueError(f'EntropyPooling: mapping must be one of {MAPPINGS}, got {self.mapping!r}')


@dataclass
class OwnScorer:
    """Size of a classifier that the neck owns; both or neither.

    Attributes:
        num_classes, in_channels: C and D.

    >>> OwnScorer(num_classes=3, in_channels=8)
    OwnScorer(num_classes=3, in_channels=8)
    """

    num_classes: int | None = None
    in_channels: int | None = None

    def __post_init__(self) -> None:
        if (self.num_classes is None) != (self.in_channels is None):
            raise ValueError('EntropyPooling: give num_classes and in_channels together (own scorer) or neither (tied)')


#: The groups of options.
GROUPS = {'weighting': Weighting, 'entropy': LocationEntropy, 'scorer': OwnScorer}


def take_options(name: str, given: dict | None, flat: dict[str, Any]) -> Any:
    """One group of the options, from its dict and from the options' own names."""
    kind = GROUPS[name]
    return take_group('EntropyPooling', name, kind, given, flat, {one.name: one.name for one in fields(kind)})


@MODELS.register_module()
class EntropyPooling(TiedPooling):
    r"""Pool features by how certain the class prediction is at each location, after Wan et al. (EFW, ICCV 2019).

    .. math:: H_i = H(\mathrm{softmax}(W f_i + b)),\quad w_i \propto m(H_i),\quad f = \sum_i w_i f_i

    The classifier (W, b) is the head's own: :class:`~mmentropy.models.LocalizationClassifier` ties it. Since the
    weights sum to one, the pooled logits are the weighted mean of the location logits. Inside a stock
    ``ImageClassifier`` give a ``scorer``: the neck then owns its classifier, which learns through the weights.

    Args:
        weighting: options of :class:`Weighting`: from entropy to weight.
        entropy: options of :class:`LocationEntropy`.
        mix: share of the plain mean (GAP) in the pooled features, in [0, 1].
        scorer: ``dict(num_classes, in_channels)`` to own a classifier; None to be tied.
        **flat: the groups' options by their own names: ``EntropyPooling(temperature=0.5)`` is
            ``EntropyPooling(weighting=dict(temperature=0.5))``. An option that is given both ways is an error.

    Shape:
        (B, D, H, W), or a backbone's tuple whose last entry that is; gives (B, D), or a tuple with the earlier maps
        averaged.

    Raises:
        ValueError: for an option that is unknown, out of its range or given twice.

    >>> neck = EntropyPooling(weighting=dict(mapping='exp', temperature=0.5))
    >>> neck.tie(torch.nn.Linear(8, 3))
    >>> neck(torch.zeros(2, 8, 7, 7)).shape
    torch.Size([2, 8])
    """

    @name_keywords({option.name: option.default for kind in GROUPS.values() for option in fields(kind)})
    def __init__(
        self,
        weighting: dict | None = None,
        entropy: dict | None = None,
        mix: float = 0.0,
        scorer: dict | None = None,
        **flat: Any,
    ) -> None:
        super().__init__()
        if not 0 <= mix <= 1:
            raise ValueError(f'EntropyPooling: mix is the share of the plain mean and must be in [0, 1], got {mix}')
        self.mix = mix
        self.weighting = take_options('weighting', weighting, flat)
        self.reading = take_options('entropy', entropy, flat)
        own = take_options('scorer', scorer, flat)
        refuse_unknown('EntropyPooling', flat, inspect.signature(EntropyPooling).parameters)
        if own.num_classes is not None:
            if self.weighting.detach:
                raise ValueError(
                    'EntropyPooling: its own scorer learns through the weights only, so detach must be False'
                )
            self.scorer = nn.Linear(own.in_channels, own.num_classes)

    @property
    def entropy_options(self) -> dict:
        """How it weighs locations, as options of :class:`~mmentropy.explain.EntropyWeightedCAM`."""
        how, reading = self.weighting, self.reading
        return {
            'mapping': how.mapping,
            'temperature': how.temperature,
            'gamma': how.gamma,
            'score': reading.score,
            'topk': reading.topk,
        }

    def entropy(self, features: Tensor) -> Tensor:
        """Location entropy (B, H, W) in nats of a (B, D, H, W) feature map."""
        linear, how = self.classifier, self.reading
        return location_entropy(self.scored(features), linear.weight, linear.bias, how.score, how.topk, how.chunk_size)

    def weights(self, features: Tensor) -> Tensor:
        """Location weights (B, H, W), summing to one over the locations."""
        classes, how = self.classifier.weight.shape[0], self.weighting
        outcomes = 2 if self.reading.score == 'sigmoid' else min(self.reading.topk or classes, classes)
        with torch.no_grad() if how.detach else nullcontext():
            entropy = self.entropy(features)
            return entropy_weights(entropy, outcomes, how.mapping, how.temperature, how.gamma, how.eps)

    def pool(self, features: Tensor) -> Tensor:
        return weighted_pool(features, self.weights(features), self.mix)

    def extra_repr(self) -> str:
        return f'{self.weighting}, {self.reading}, mix={self.mix}, {self.tie_repr()}'
