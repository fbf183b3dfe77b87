# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Packages whose names are imported when they are asked for.

Counting the maps of a folder needs neither torch nor the hosts, and a process for each core that has loaded them all
the same costs 400 MB. So a package that holds both kinds of modules loads none of them by itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def names_on_demand(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` (PEP 562), which imports a public name's module when the name is asked for.

    Args:
        package: full name.
        modules: public name → its module below the package.

    >>> names_on_demand('mmentropy.ops', {'box_iou': 'localizing.boxes'})('box_iou').__name__
    'box_iou'
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(importlib.import_module(f'{package}.{modules[name]}'), name)

    return find
