# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Small min-max models, images and steps that the tests and their worker processes share."""

from __future__ import annotations

import logging

import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmentropy.models import MinMaxLocalizer

CLASSES = 4


def build(
    norm: str = 'GN', channels: int = 8, seed: int = 0, backbone: dict | None = None, **options
) -> MinMaxLocalizer:
    """A ResNet-18 of few channels; with group norm a sample's result does not depend on the others in its batch."""
    MMLogger.get_instance('mmengine').setLevel(logging.ERROR)  # init_weights logs every parameter
    torch.manual_seed(seed)
    norms = dict(GN=dict(type='GN', num_groups=4), BN=dict(type='BN'))
    small = dict(
        type='mmpretrain.ResNet',
        depth=18,
        strides=(1, 2, 1, 1),
        base_channels=channels,
        stem_channels=channels,
        norm_cfg=norms[norm],
    )
    model = MODELS.build(
        dict(
            type='mmentropy.MinMaxLocalizer',
            backbone=backbone or small,
            data_preprocessor=dict(num_classes=CLASSES),
            **options,
        )
    )
    model.init_weights()
    torch.manual_seed(seed + 1)
    for head in (model.localizer, model.head):  # initial scores so near zero that every class is as likely show nothing
        nn.init.normal_(head.fc.weight, std=0.5)
    return model.train()


def images(number: int = 6, size: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def found(model: MinMaxLocalizer, x: Tensor) -> list[int]:
    """The classes that the localizer finds now, as labels that make it right."""
    training = model.training
    labels = model.eval().localize(x)[0].argmax(1).tolist()
    model.train(training)
    return labels


def samples(labels: list[int]) -> list[DataSample]:
    return [DataSample().set_gt_label(int(label)) for label in labels]


def total(losses: dict[str, Tensor]) -> Tensor:
    return sum(value for name, value in losses.items() if 'loss' in name)


def sgd(model: nn.Module, lr: float = 0.01, wrapper: type[OptimWrapper] = OptimWrapper, **options) -> OptimWrapper:
    return wrapper(torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9), **options)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])
