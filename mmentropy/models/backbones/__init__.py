# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .alexnet_gap import AlexNetGAP
from .cached_trunk import CachedTrunk
from .cifar_resnets import CIFARResNet, WideResNet
from .clip_vision import CLIPVision
from .enlarged import EnlargedBackbone
from .googlenet_gap import GoogLeNetGAP
from .inception_v3_cam import InceptionV3CAM
from .nin import NIN
from .preact_resnet import PreActResNet
from .residual_attention import ResidualAttention, ResidualAttentionBackbone
from .vgg_gap import VGGGAP

__all__ = [
    'NIN',
    'VGGGAP',
    'AlexNetGAP',
    'CIFARResNet',
    'CLIPVision',
    'CachedTrunk',
    'EnlargedBackbone',
    'GoogLeNetGAP',
    'InceptionV3CAM',
    'PreActResNet',
    'ResidualAttention',
    'ResidualAttentionBackbone',
    'WideResNet',
]
