# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Segmenters. ``DSRGSegmentor`` needs mmsegmentation and is left out without it; classifiers do not."""

from importlib.util import find_spec

from .affinity_net import AffinityNet

__all__ = ['AffinityNet']

# mmsegmentation imports ftfy and regex without declaring them.
if all(find_spec(name) for name in ('mmseg', 'ftfy', 'regex')):
    from .dsrg_segmentor import DSRGSegmentor

    __all__ += ['DSRGSegmentor']
