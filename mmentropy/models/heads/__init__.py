# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .cam_head import CAMHead
from .deep_mil_head import DeepMILHead
from .text_prototype_head import CosineClassifier, TextPrototypeHead
from .tri_region_head import TriRegionHead
from .wildcat_head import WildcatHead

__all__ = ['CAMHead', 'CosineClassifier', 'DeepMILHead', 'TextPrototypeHead', 'TriRegionHead', 'WildcatHead']
