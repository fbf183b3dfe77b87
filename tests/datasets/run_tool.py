# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Run a tool's main in this process: importing the host once more would take longer than the test."""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).parents[2] / 'tools'


@dataclass
class Result:
    code: int
    out: str
    err: str


def run_tool(tool: str, *args: str) -> Result:
    """Exit code and what it printed; ``tool`` is its path below ``tools/``."""
    out, err, argv, code = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = [tool, *args]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_path(str(TOOLS / tool), run_name='__main__')
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = argv
    return Result(code, out.getvalue(), err.getvalue())
