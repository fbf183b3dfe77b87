# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""numba kernels: announced once, cached where a cache can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mmentropy.ops import jit

KERNEL = """
import logging
from mmentropy.ops.jit import announce_compilation, jit

@jit
def _add(a, b):
    return a + b

logging.basicConfig()
for _ in range(2):
    announce_compilation(_add)
    print(_add(1, 2))
"""


def test_compilation_is_announced_once_and_cached(tmp_path):
    """The first process says once that it compiles, the second has it from the cache, a changed source says it anew."""
    script = tmp_path / 'kernel.py'
    script.write_text(KERNEL)
    env = dict(os.environ, PYTHONPATH=str(Path(jit.__file__).parents[2]), NUMBA_CACHE_DIR=str(tmp_path / 'cache'))

    def warnings() -> int:
        done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, check=True)
        assert done.stdout == '3\n3\n'
        return done.stderr.count('compiling add with numba')

    assert [warnings(), warnings()] == [1, 0]
    script.write_text(KERNEL.replace('def _add', '# moved\ndef _add'))
    assert warnings() == 1


def test_without_any_cache_folder_functions_still_compile(monkeypatch):
    njit = jit.numba.njit

    def no_folder(*args, **kwargs):
        if kwargs.get('cache'):
            raise RuntimeError("cannot cache function 'f': no locator available")
        return njit(*args, **kwargs)

    monkeypatch.setattr(jit.numba, 'njit', no_folder)
    twice = jit.jit(lambda x: 2 * x)
    assert twice(21) == 42
    assert not jit.is_cached(twice)
