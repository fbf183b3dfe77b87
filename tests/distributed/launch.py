# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Starting the worker scripts beside this file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def environment(**extra: str) -> dict[str, str]:
    path = [ROOT, HERE, *(ROOT / 'tests' / part for part in ('models', 'ops', ''))]
    return {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(map(str, path)),
        'OMP_NUM_THREADS': '1',
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        **extra,
    }


def work(script: str, *arguments: object) -> None:
    command = [sys.executable, '-W', 'ignore', str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
