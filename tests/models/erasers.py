# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Small models with feature erasers, and some steps of training."""

import copy

import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

RESNET = dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1))
CONVNEXT = dict(
    type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[4, 8, 12, 20]), gap_before_final_norm=False
)
VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=24),
    img_size=32,
    patch_size=8,
    out_type='featmap',
)
ERASERS = {
    'ADL': dict(type='mmentropy.ADL'),
    'RDAP': dict(type='mmentropy.RDAP', size=0.5),
    'ACoL': dict(type='mmentropy.ACoL'),
    'SPG': dict(type='mmentropy.SPG', channels=4),
}
NEUTRAL = {
    'ADL prob': dict(type='mmentropy.ADL', prob=0.0),
    'ADL rate': dict(type='mmentropy.ADL', drop_rate=0.0, importance=False),
    'RDAP rate': dict(type='mmentropy.RDAP', drop_rate=0.0),
    'ACoL weight': dict(type='mmentropy.ACoL', weight=0.0),
    'SPG weight': dict(type='mmentropy.SPG', channels=4, weight=0.0),
}


def build(*erasing: dict, backbone: dict = RESNET):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='mmentropy.LocalizationClassifier',
            backbone=copy.deepcopy(backbone),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='mmentropy.CAMHead', num_classes=7, init_cfg=dict(type='Normal', layer='Linear', std=0.5)),
            erasing=[dict(one) for one in erasing],
        )
    )
    model.init_weights()
    return model


def samples() -> list[DataSample]:
    return [DataSample().set_gt_label(i) for i in (6, 0, 3)]


def steps(model, images, number=3) -> tuple[list[torch.Tensor], list[float]]:
    """A few training steps; the parameters of backbone and head, and the losses."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    losses = []
    for _ in range(number):
        total = sum(model(images, samples(), mode='loss').values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    return [p.detach().clone() for part in (model.backbone, model.head) for p in part.state_dict().values()], losses
