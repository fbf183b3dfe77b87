# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .alexnet_gap import AlexNetGAP
from .cached_trunk import CachedTrunk
from .enlarged import EnlargedBackbone
from .googlenet_gap import GoogLeNetGAP
from .inception_v3_cam import InceptionV3CAM
from .preact_resnet import PreActResNet
from .vgg_gap import VGGGAP

__all__ = ['VGGGAP', 'AlexNetGAP', 'CachedTrunk', 'EnlargedBackbone', 'GoogLeNetGAP', 'InceptionV3CAM', 'PreActResNet']
