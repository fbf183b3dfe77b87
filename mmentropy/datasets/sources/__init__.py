# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Where a pipeline's images, labels and true masks come from: one reader a layout, behind ``data=dict(type=…)``."""

from .coco_instances import CocoInstances
from .image_source import ImageSource, build_source
from .labelled_images import LabelledImages
from .mask_folders import MaskFolders
from .voc_folder import VOCFolder

__all__ = ['CocoInstances', 'ImageSource', 'LabelledImages', 'MaskFolders', 'VOCFolder', 'build_source']
