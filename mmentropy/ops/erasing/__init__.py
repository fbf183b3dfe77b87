# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Erasing: recursive, of features, of images; self-produced guidance."""

from .recursive import Erased, erasing_weight, expected_map, pseudo_threshold, recursive_erasing

__all__ = ['Erased', 'erasing_weight', 'expected_map', 'pseudo_threshold', 'recursive_erasing']
