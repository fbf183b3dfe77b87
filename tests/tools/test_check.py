# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The check from the command line: a fault is told, and with the exit code."""

from __future__ import annotations

from pathlib import Path

import dataset_worlds as worlds
from run_tool import run_tool


def test_command(tmp_path: Path) -> None:
    done = run_tool('dataset_tools/check.py', 'cub', '--root', str(worlds.cub(tmp_path)))
    assert done.code == 1
    assert f'fault: {tmp_path}/images.txt: 2 images in train, 5994 are documented' in done.out
    assert '3 fault(s)' in done.out
