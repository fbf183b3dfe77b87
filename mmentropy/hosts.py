# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The OpenMMLab packages below us: are they there, and are they among the versions that were tried?

Two families of distributions share the import names mmengine, mmcv, mmpretrain and mmseg; one code serves both.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import sys
import warnings
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

#: import name -> {distribution: (lowest, below)}: the range of versions that the tests were run with.
TESTED = {
    'mmengine': {'onedl-mmengine': ('0.10.10', '0.11'), 'mmengine': ('0.10.4', '0.11')},
    'mmcv': {'onedl-mmcv': ('2.3', '2.4'), 'mmcv': ('2.0', '2.2'), 'mmcv-lite': ('2.0', '2.2')},
    'mmpretrain': {'onedl-mmpretrain': ('1.3', '1.4'), 'mmpretrain': ('1.2', '1.3')},
    'mmseg': {'onedl-mmsegmentation': ('1.4', '1.5'), 'mmsegmentation': ('1.2.2', '1.3')},
}

_checked: set[str] = set()

#: How the lines begin that the hosts say while they are imported: theirs to mend, and nothing that a user can change.
HOST_NOISE = (
    'Fail to import ``MultiScaleDeformableAttention``',
    'On January 1, 2023, MMCV will release v2.0.0',
    'pkg_resources is deprecated',
    'Deprecated call to `pkg_resources',
    'Importing from timm.models.(layers|helpers|registry) is deprecated',
)


def require_hosts(*names: str) -> None:
    """Check that the host packages are importable, and warn once about a version outside the tested range.

    Args:
        names: import names; mmengine, mmcv and mmpretrain by default.

    Raises:
        ImportError: in one sentence, with the command that installs them.
    """
    names = names or ('mmengine', 'mmcv', 'mmpretrain')
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f'mmentropy needs {", ".join(missing)}, which is not installed: run `{how_to_install(family())}`; '
            'docs/howto/package_families.md has both families'
        )
    for name in names:
        if name not in _checked:
            _checked.add(name)
            _warn_if_untested(name)


def installed(name: str) -> dict[str, str]:
    """Distribution → version, of the distributions that give an import name.

    Args:
        name: an import name of :data:`TESTED`.
    """
    there = {}
    for distribution in TESTED[name]:
        try:
            there[distribution] = version(distribution)
        except PackageNotFoundError:
            continue
    return there


def family() -> str | None:
    """``'onedl'`` or ``'openmmlab'``, by what is installed of them; None for nothing, and for some of each."""
    names = {distribution for name in TESTED for distribution in installed(name)}
    families = {'onedl' if name.startswith('onedl-') else 'openmmlab' for name in names}
    return families.pop() if len(families) == 1 else None


def how_to_install(which: str | None) -> str:
    """The command that completes a family; the maintained one where there is none yet.

    >>> how_to_install(None)
    'pip install "mmentropy[onedl]"'
    >>> how_to_install('openmmlab')
    'pip install "mmentropy[openmmlab-lite]"'
    """
    return f'pip install "mmentropy[{"openmmlab-lite" if which == "openmmlab" else "onedl"}]"'


def stand_in_for_operators() -> None:
    """Let the original mmsegmentation be imported beside mmcv-lite, which has no compiled operators.

    mmseg imports some of them in whatever it does, and calls them in a few heads and losses that nothing of ours uses.
    The stand-in has every name; to call one is an ImportError that says what to install. The maintained family needs
    none.
    """
    original = 'mmsegmentation' in installed('mmseg')
    if original and 'mmcv._ext' not in sys.modules and importlib.util.find_spec('mmcv._ext') is None:
        operators = _Operators('mmcv._ext')
        operators.__spec__ = ModuleSpec('mmcv._ext', None)  # who asks whether they are there is told so
        sys.modules['mmcv._ext'] = operators


class _Operators(ModuleType):
    """A module that has every name but Python's own."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> None:
            raise ImportError(
                f"mmcv's compiled operator {name} is called, and mmcv-lite has none: install mmcv with its operators "
                '(docs/howto/package_families.md)'
            )

        return missing


def quiet_hosts() -> None:
    """Leave out what the hosts say of themselves while they are imported; every other warning stays.

    mmengine's ``print_log`` prints without a logger whatever the level is: ``Could not import OneDL``, a DEBUG line.
    """
    with warnings.catch_warnings(record=True):  # torch 2.5 says it past all filters: its optimizers' TorchScript is old
        import torch.distributed.optim  # noqa: F401  mmengine imports it in any case
    for message in HOST_NOISE:
        warnings.filterwarnings('ignore', message=message)
    import mmengine.logging

    if not hasattr(mmengine.logging.print_log, '__wrapped__'):
        mmengine.logging.print_log = _without_debug(mmengine.logging.print_log)


def _without_debug(print_log: Any) -> Any:
    @functools.wraps(print_log)
    def quieter(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
        if logger is not None or level > logging.DEBUG:
            print_log(msg, logger, level)

    return quieter


def _warn_if_untested(name: str) -> None:
    for distribution, number in installed(name).items():
        lowest, below = TESTED[name][distribution]
        if not release(lowest) <= release(number) < release(below):
            warnings.warn(
                f'{distribution} {number} is outside the versions that were tried (>= {lowest}, < {below}); '
                'it may work, and requirements/constraints.txt names the tested set',
                stacklevel=4,
            )


def release(text: str) -> tuple[int, ...]:
    """Numeric release segments: '0.10.12rc1' -> (0, 10, 12)."""
    parts = []
    for part in text.split('+')[0].split('.'):
        digits = ''
        for char in part:
            if not char.isdigit():
                break
            digits += char
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)
