# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A config of mmpretrain's own parts alone, for tools that read anybody's classifier."""

CONFIG = """
default_scope = 'mmpretrain'
data_preprocessor = dict(mean=[120] * 3, std=[60] * 3, to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=4, in_channels=64),
)
"""
