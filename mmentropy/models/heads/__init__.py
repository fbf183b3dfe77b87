# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .cam_head import CAMHead
from .wildcat_head import WildcatHead

__all__ = ['CAMHead', 'WildcatHead']
