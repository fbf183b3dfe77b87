# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Classes as directions in a joint space of images and text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmentropy.engine.embeddings import ClassEmbeddings
from mmentropy.ops.certainty.entropy import location_entropy
from mmentropy.ops.mapping.class_maps import class_activation_maps
from mmentropy.registry import MODELS

from .cam_head import CAMHead


class CosineClassifier(nn.Module):
    r"""Logits :math:`s \cos(f, t_c)`: linear on features of length one, with the weights :math:`s\, t_c / \|t_c\|`.

    Args:
        prototypes: (C, D).
        scale: s, kept as its logarithm.
        trainable: whether prototypes and scale are parameters.

    >>> classifier = CosineClassifier(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), scale=10)
    >>> classifier(torch.tensor([[3.0, 4.0]]))
    tensor([[6., 8.]])
    """

    #: What pools or explains by its ``weight`` must give its features length one.
    normalizes_features = True

    def __init__(self, prototypes: Tensor, scale: float = 1.0, trainable: bool = False) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f'the scale of a cosine classifier must be above 0, got {scale}')
        self.out_features, self.in_features = prototypes.shape
        log_scale = torch.tensor(math.log(scale))
        if trainable:
            self.prototypes, self.log_scale = nn.Parameter(prototypes.clone().float()), nn.Parameter(log_scale)
        else:
            self.register_buffer('prototypes', prototypes.clone().float())
            self.register_buffer('log_scale', log_scale)
        self.bias = None

    @property
    def weight(self) -> Tensor:
        """(C, D), to be used on features of length one."""
        return self.log_scale.exp() * F.normalize(self.prototypes, dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features of any length to (B, C) logits."""
        return F.linear(F.normalize(features, dim=-1), self.weight)


@MODELS.register_module()
class TextPrototypeHead(CAMHead):
    r"""Logits :math:`s \cos(f, t_c)` with the embeddings *t* of class names, at the pooled feature and every location.

    With a trunk in the same space (``mmentropy.CLIPVision``) it names classes, draws their maps and gives the location
    entropy without any training. See :func:`~mmentropy.ops.mapping.prototypes.cosine_logits`.

    Args:
        embeddings: a file of ``tools/embed_classes.py``; None starts with random prototypes, for a checkpoint to fill.
        classes: which of the file's classes, in this order; None takes all.
        scale: s; None takes the file's (CLIP's own), else 100.
        num_classes, in_channels: C and D; with a file they are its own, and checked where given.
        trainable: whether prototypes and scale are trained.
        **kwargs: as in ``CAMHead``.

    Raises:
        KeyError: for a class that the file has not.
        ValueError: where the file's embeddings do not fit ``num_classes`` or ``in_channels``.

    >>> head, features = TextPrototypeHead(num_classes=3, in_channels=8), torch.rand(1, 8, 7, 7)
    >>> maps = head.maps(features)  # at each location, the logits of that location alone
    >>> torch.allclose(maps[:, :, 2, 3], head((features[:, :, 2, 3],)), atol=1e-5)
    True
    """

    def __init__(
        self,
        embeddings: str | Path | None = None,
        classes: Sequence[str] | None = None,
        scale: float | None = None,
        num_classes: int | None = None,
        in_channels: int | None = None,
        trainable: bool = False,
        **kwargs,
    ) -> None:
        names, own_scale = None, 100.0
        if embeddings is not None:
            read = ClassEmbeddings.read(embeddings)
            read = read if classes is None else read.only(classes)
            read.check(num_classes, in_channels)
            names, prototypes, own_scale = read.classes, torch.from_numpy(read.vectors), read.scale
        elif num_classes is None or in_channels is None:
            raise ValueError('TextPrototypeHead: name the file of embeddings, or give num_classes and in_channels')
        else:
            prototypes = torch.randn(num_classes, in_channels)
        super().__init__(num_classes=prototypes.shape[0], in_channels=prototypes.shape[1], **kwargs)
        self.class_names: tuple[str, ...] | None = names
        self.fc = CosineClassifier(prototypes, own_scale if scale is None else scale, trainable)

    def maps(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """(B, K, H, W) logits of each location, of the classes asked for."""
        return class_activation_maps(F.normalize(features, dim=1), self.fc.weight, classes)

    def entropy_map(self, features: Tensor) -> Tensor:
        """Location entropy (B, H, W) in nats under softmax, or mean of sigmoids, of the locations' logits."""
        score = 'sigmoid' if self.multi_label else 'softmax'
        return location_entropy(F.normalize(features, dim=1), self.fc.weight, None, score)
