# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Completion, in the shells themselves where they are there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmentropy.commands.completion import SHELLS, completion_script

NAMES = ['train', 'test', 'eval-maps']


@pytest.fixture
def command(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``mmentropy`` is this one."""
    script = tmp_path / 'mmentropy'
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m mmentropy "$@"\n')
    script.chmod(0o755)
    return {**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (['mmentropy', 't'], ['train', 'test']),
        (['mmentropy', 'eval'], ['eval-maps']),
        (['mmentropy', 'train', '--no-v'], ['--no-validate']),
        (['mmentropy', 'train', 'configs/'], []),
    ],
)
def test_bash_completes(words, expected, command):
    quoted = ' '.join(words)
    code = (
        completion_script('bash', NAMES)
        + f'\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _mmentropy; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    result = subprocess.run(['bash', '-c', code], capture_output=True, text=True, check=True, env=command)
    assert result.stdout.split() == expected


@pytest.mark.parametrize('shell', SHELLS)
def test_every_shell_reads_its_script(shell):
    script = completion_script(shell, NAMES)
    assert 'train test eval-maps' in script
    assert 'NAMES' not in script
    if shutil.which(shell):
        subprocess.run([shell, '-n', '-c', script], check=True)
