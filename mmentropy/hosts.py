# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The OpenMMLab packages below us: are they there, and are they among the versions that were tried?

Two families of distributions share the import names mmengine, mmcv, mmpretrain and mmseg; one code serves both.
"""

from __future__ import annotations

import importlib.util
import warnings
from importlib.metadata import PackageNotFoundError, version

#: import name -> {distribution: (lowest, below)}: the range of versions that the tests were run with.
TESTED = {
    'mmengine': {'onedl-mmengine': ('0.10.10', '0.11'), 'mmengine': ('0.10.4', '0.11')},
    'mmcv': {'onedl-mmcv': ('2.3', '2.4'), 'mmcv': ('2.0', '2.2')},
    'mmpretrain': {'onedl-mmpretrain': ('1.3', '1.4'), 'mmpretrain': ('1.2', '1.3')},
    'mmseg': {'onedl-mmsegmentation': ('1.4', '1.5'), 'mmsegmentation': ('1.2.2', '1.3')},
}

_checked: set[str] = set()


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


def _warn_if_untested(name: str) -> None:
    for distribution, (lowest, below) in TESTED[name].items():
        try:
            installed = version(distribution)
        except PackageNotFoundError:
            continue
        if not _key(lowest) <= _key(installed) < _key(below):
            warnings.warn(
                f'{distribution} {installed} is outside the versions that were tried (>= {lowest}, < {below}); '
                'it may work, and requirements/constraints.txt names the tested set',
                stacklevel=4,
            )


def _key(text: str) -> tuple[int, ...]:
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
