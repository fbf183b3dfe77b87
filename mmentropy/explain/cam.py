# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps that one forward pass gives, from the feature map and the linear classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmentropy.ops.certainty.entropy import Mapping, Score, entropy_weights, location_entropy, max_entropy
from mmentropy.ops.mapping.class_maps import class_activation_maps
from mmentropy.registry import EXPLAINERS

from .explainer import Explainer, Explanation, explanation
from .targets import Asked, Question


def location_scores(features: Tensor, linear: nn.Linear, asked: Asked, logits: Tensor, bias: bool = False) -> Tensor:
    """(N, K, h, w): what a linear classifier gives at each location for what is asked.

    A score function that is no class's logit is read by its slope at the image's logits: exact where it is linear, a
    difference of logits for example.
    """
    if asked.question.plain:
        table = None if asked.question.classes is None else asked.table
        maps = class_activation_maps(features, linear.weight, table)
        return maps if not bias or linear.bias is None else maps + linear.bias[asked.table][:, :, None, None]
    slopes = asked.slopes(logits).to(features.dtype)
    maps = torch.einsum('nkd,ndhw->nkhw', slopes @ linear.weight, features)
    return maps if not bias or linear.bias is None else maps + (slopes @ linear.bias)[:, :, None, None]


@EXPLAINERS.register_module()
class CAM(Explainer):
    r"""Class activation maps, :math:`M_c = \sum_k w_k^c f_k` (Zhou et al., CVPR 2016); a segmentor's logits.

    One forward pass gives the maps of all classes. Behind global average pooling the mean of a map plus the bias is the
    logit. Behind another pooling the map is the same formula; where a model does not declare that its classifier scores
    locations (``location_classifier``), one warning says that something stands between.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5, bias=False)
    >>> result = CAM(nn.Sequential(*layers))(torch.rand(1, 3, 16, 16), classes=2)
    >>> result.maps.shape, torch.allclose(result.maps.mean(), result.logits[0, 2], atol=1e-5)
    (torch.Size([1, 1, 14, 14]), True)
    """

    needs_classifier = True
    handles_dense = True

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        features, logits = self.features(images)
        asked = question.of(logits)
        return explanation(location_scores(features, self.anatomy.classifier, asked, logits), asked, logits)

    def _dense(self, logits: Tensor, asked: Asked) -> Explanation:
        return explanation(asked.places(logits), asked, logits)


@EXPLAINERS.register_module()
class EntropyMap(Explainer):
    r"""How certain the prediction is at each location, :math:`H_{max} - H(p_i)` in nats; one map an image.

    :math:`H_{max}` is log C for a softmax (the map is then KL(p‖u)) and log 2 for sigmoids, so larger is more certain
    and the map is never negative. The entropy itself is ``max_entropy - map``.

    Args:
        score: ``softmax``, or ``sigmoid`` for a multi-label model.
        topk: entropy among the best k classes of a location only.
        **kwargs: see :class:`~mmentropy.explain.explainer.Explainer`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> maps = EntropyMap(nn.Sequential(*layers))(torch.rand(2, 3, 16, 16)).maps
    >>> maps.shape, bool((maps >= 0).all() and (maps <= max_entropy(5)).all())
    (torch.Size([2, 1, 14, 14]), True)
    """

    needs_classifier = True
    handles_dense = True
    class_agnostic = True

    def __init__(self, model, score: Score = 'softmax', topk: int | None = None, **kwargs) -> None:
        super().__init__(model, score=score, **kwargs)
        self.topk = topk

    def entropy(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Location entropy (N, h, w) in nats."""
        return location_entropy(features, weight, bias, self.score, self.topk)

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        features, logits = self.features(images)
        linear = self.anatomy.classifier
        return self._certainty(self.entropy(features, linear.weight, linear.bias), question.of(logits), logits)

    def _dense(self, logits: Tensor, asked: Asked) -> Explanation:
        # A map of logits is a feature map whose classifier is the identity.
        return self._certainty(self.entropy(logits, torch.eye(logits.shape[1]).to(logits), None), asked, logits)

    def _certainty(self, entropy: Tensor, asked: Asked, logits: Tensor) -> Explanation:
        top = max_entropy(self.topk or logits.shape[1], self.score)
        return explanation((top - entropy)[:, None].clamp(min=0), asked, logits)


@EXPLAINERS.register_module()
class EntropyWeightedCAM(EntropyMap):
    r"""Class maps weighted by certainty, :math:`w_i z_{i,c}` with :math:`\sum_i w_i = 1`.

    The sum of a map is the logit of entropy-weighted pooling with the same options (that holds with the bias, which
    :math:`z` includes): see docs/methods/entropy_pooling.md.

    Args:
        mapping, temperature, gamma: see :func:`mmentropy.ops.certainty.entropy.entropy_weights`.
        score, topk: see :class:`EntropyMap`.
        **kwargs: see :class:`~mmentropy.explain.explainer.Explainer`.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> explainer = EntropyWeightedCAM(nn.Sequential(*layers), temperature=1e6)  # as T → ∞ the pooling is GAP
    >>> result = explainer(torch.rand(1, 3, 16, 16))
    >>> torch.allclose(result.maps.sum((2, 3)), result.logits, atol=1e-4)
    True
    """

    class_agnostic = False

    def __init__(self, model, mapping: Mapping = 'exp', temperature: float = 1.0, gamma: float = 1.0, **kwargs) -> None:
        super().__init__(model, **kwargs)
        self.mapping, self.temperature, self.gamma = mapping, temperature, gamma

    def _weighted(self, scores: Tensor, entropy: Tensor, num_classes: int) -> Tensor:
        count = num_classes if self.topk is None else self.topk
        weights = entropy_weights(entropy, count, self.mapping, self.temperature, self.gamma)
        return scores * weights[:, None]

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        features, logits = self.features(images)
        asked, linear = question.of(logits), self.anatomy.classifier
        scores = location_scores(features, linear, asked, logits, bias=True)
        entropy = self.entropy(features, linear.weight, linear.bias)
        return explanation(self._weighted(scores, entropy, logits.shape[1]), asked, logits)

    def _dense(self, logits: Tensor, asked: Asked) -> Explanation:
        entropy = self.entropy(logits, torch.eye(logits.shape[1]).to(logits), None)
        return explanation(self._weighted(asked.places(logits), entropy, logits.shape[1]), asked, logits)
