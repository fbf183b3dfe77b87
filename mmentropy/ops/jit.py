# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""numba kernels: compiled code cached where a cache can be written, and a word to the user before a compilation."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

# The arrays of kernels. numba infers types itself, and compiles again for others: callers convert, so there is one.
U8 = NDArray[np.uint8]
I8 = NDArray[np.int8]
I16 = NDArray[np.int16]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_announced: set[Any] = set()


def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``numba.njit(cache=True)``; without a cache where neither the package nor the user's cache folder is writable.

    numba looks for a folder while decorating (beside the source, then the user's cache, or ``NUMBA_CACHE_DIR``) and
    raises where it finds none; a read-only installation must still import.

    Args:
        function: what to compile; left out when options are given, ``@jit(parallel=True)``.
        **options: further options of ``numba.njit``.

    >>> jit(lambda x: 2 * x)(21)
    42
    """
    if function is None:
        return functools.partial(jit, **options)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)


def is_cached(kernel: Any) -> bool:
    """Whether compiled code of this kernel lies in numba's cache, not older than its source.

    >>> is_cached(jit(lambda x: 2 * x))  # has no file that a cache could belong to
    False
    """
    folder = kernel.stats.cache_path
    if folder is None:
        return False
    code = kernel.py_func.__code__
    source = Path(code.co_filename)
    pattern = f'{source.stem}.{kernel.py_func.__qualname__}-{code.co_firstlineno}.*.nbi'
    written = source.stat().st_mtime if source.exists() else 0.0
    return any(index.stat().st_mtime >= written for index in Path(folder).glob(pattern))


def announce_compilation(kernel: Any) -> None:
    """Before a kernel's first call in this process: log that numba compiles it, unless the cache has it.

    >>> from mmentropy.ops.localizing.component_tree import level_boxes  # announces itself, and that once
    >>> level_boxes(np.array([[0, 9]], np.uint8))[1]
    1
    """
    if kernel not in _announced:
        _announced.add(kernel)
        if not is_cached(kernel):
            logging.getLogger(__name__).warning(
                'compiling %s with numba: some seconds, once per machine (cache: %s)',
                kernel.py_func.__name__.lstrip('_'),
                kernel.stats.cache_path or 'none is writable, set NUMBA_CACHE_DIR',
            )
