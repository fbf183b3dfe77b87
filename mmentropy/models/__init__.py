# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Registered models. Needs mmengine, mmcv and mmpretrain; says how to install them where they are missing."""

from mmentropy.hosts import require_hosts

require_hosts()

from . import backbones, classifiers, erasing, heads, losses, necks, segmentors  # noqa: E402
from .classifiers import LocalizationClassifier  # noqa: E402
from .heads import CAMHead  # noqa: E402
from .losses import ConfidencePenaltyLoss, EntropyRegularizedLoss, JeffreysPenaltyLoss  # noqa: E402
from .necks import EntropyPooling  # noqa: E402

__all__ = [
    'CAMHead',
    'ConfidencePenaltyLoss',
    'EntropyPooling',
    'EntropyRegularizedLoss',
    'JeffreysPenaltyLoss',
    'LocalizationClassifier',
    'backbones',
    'classifiers',
    'erasing',
    'heads',
    'losses',
    'necks',
    'segmentors',
]
