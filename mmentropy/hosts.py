# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The OpenMMLab packages below us: are they there, and are they among the versions that were tried?

Two families of distributions share the import names mmengine, mmcv, mmpretrain and mmseg; one code serves both.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

#: import name -> {distribution: (lowest, below)}: the range of versions that the tests were run with.
TESTED = {
    'mmengine': {'onedl-mmengine': ('0.10.10', '0.11'), 'mmengine': ('0.10.4', '0.11')},
    'mmcv': {'onedl-mmcv': ('2.3', '2.4'), 'mmcv': ('2.0', '2.2')},
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
            f'mmentropy needs {", ".join(missing)}, which is not installed: run `pip install "mmentropy[onedl]"` '
            '(the maintained packages, nothing to compile); for the original ones see docs/howto/package_families.md'
        )
    for name in names:
        if name not in _checked:
            _checked.add(name)
            _warn_if_untested(name)


def quiet_hosts() -> None:
    """Leave out what the hosts say of themselves while they are imported; every other warning stays.

    mmengine's ``print_log`` prints without a logger whatever the level is: ``Could not import OneDL``, a DEBUG line.
    """
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
    for distribution, (lowest, below) in TESTED[name].items():
        try:
            installed = version(distribution)
        except PackageNotFoundError:
            continue
        if not release(lowest) <= release(installed) < release(below):
            warnings.warn(
                f'{distribution} {installed} is outside the versions that were tried (>= {lowest}, < {below}); '
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
