# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Registered models. Needs mmengine, mmcv and mmpretrain; says how to install them where they are missing."""

from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
from mmentropy.engine import checkpoint as _checkpoint  # noqa: F401  the door that models read their weights through

from . import backbones, classifiers, erasing, heads, losses, necks, segmentors
from .backbones import CachedTrunk, CLIPVision
from .classifiers import ExplainedClassifier, LocalizationClassifier, MinMaxLocalizer
from .erasing import ADL, RDAP, SPG, ACoL
from .heads import CAMHead, CosineClassifier, TextPrototypeHead, TriRegionHead, WildcatHead
from .losses import ConfidencePenaltyLoss, EntropyRegularizedLoss, JeffreysPenaltyLoss
from .necks import EntropyPooling, GlobalMaxPooling, LSEPooling, PCAMPooling, TokenPooling, WildcatPooling

__all__ = [
    'ADL',
    'RDAP',
    'SPG',
    'ACoL',
    'CAMHead',
    'CLIPVision',
    'CachedTrunk',
    'ConfidencePenaltyLoss',
    'CosineClassifier',
    'EntropyPooling',
    'EntropyRegularizedLoss',
    'ExplainedClassifier',
    'GlobalMaxPooling',
    'JeffreysPenaltyLoss',
    'LSEPooling',
    'LocalizationClassifier',
    'MinMaxLocalizer',
    'PCAMPooling',
    'TextPrototypeHead',
    'TokenPooling',
    'TriRegionHead',
    'WildcatHead',
    'WildcatPooling',
    'backbones',
    'classifiers',
    'erasing',
    'heads',
    'losses',
    'necks',
    'segmentors',
]
