# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Modules that moved: their old names go on importing the same module, with a deprecation warning, until 1.0.

Packages whose modules moved call :func:`keep_old_names` in their ``__init__``; nothing is imported before it is asked
for, and ``import mmentropy`` does not come here.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module under its old name.

    Args:
        moved: full old name → full new name.

    >>> MovedModules({'mmentropy.old': 'mmentropy.registry'}).find_spec('mmentropy.old').name
    'mmentropy.old'
    """

    def __init__(self, moved: Mapping[str, str]) -> None:
        self.moved = dict(moved)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for an old name; None, which lets the other finders look, for any other."""
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in self.moved else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The module under its new name: both names give one object."""
        new = self.moved[spec.name]
        warnings.warn(f'{spec.name} has moved to {new}', DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        # The import system is about to write the old name's spec into the module; exec_module puts its own back.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """The module has run already."""
        module.__spec__ = module.__spec__.loader_state


def keep_old_names(package: str, moved: Mapping[str, str]) -> None:
    """Let ``package``'s moved modules be imported under their old names.

    Args:
        package: full name, e.g. ``mmentropy.ops``.
        moved: old name below the package → full new name.
    """
    sys.meta_path.append(MovedModules({f'{package}.{old}': new for old, new in moved.items()}))
