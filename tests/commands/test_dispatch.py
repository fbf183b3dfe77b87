# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The command ``mmentropy``: finds every tool, answers --help at once, says what is near an unknown name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mmentropy
from mmentropy.commands import run_command
from mmentropy.commands.dispatch import COMMANDS, TOOLS, further_commands

ROOT = Path(__file__).resolve().parents[2]
#: What takes seconds to import.
HEAVY = {'torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'numpy', 'scipy', 'numba', 'cv2', 'matplotlib'}


def test_every_script_has_one_name():
    named = [script for script, _ in [*COMMANDS.values(), *further_commands().values()]]
    assert sorted(named) == sorted(path.relative_to(ROOT / 'tools').as_posix() for path in ROOT.glob('tools/**/*.py'))
    assert not set(COMMANDS) & set(further_commands())


def test_help_of_every_command_imports_nothing_heavy():
    """All in one process, without the cost of starting one for each."""
    code = (
        'import contextlib, io, json, sys\n'
        'from mmentropy.commands import run_command\n'
        'said = {}\n'
        'for name in json.loads(sys.argv[1]):\n'
        '    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):\n'
        '        run_command([name, "--help"])\n'
        '    said[name] = out.getvalue()\n'
        'print(json.dumps([said, sorted(sys.modules)]))'
    )
    names = [*COMMANDS, *further_commands()]
    result = subprocess.run([sys.executable, '-c', code, json.dumps(names)], capture_output=True, text=True, check=True)
    said, modules = json.loads(result.stdout)
    assert HEAVY & set(modules) == set()
    for name in names:
        assert said[name].startswith(f'usage: mmentropy {name} '), said[name][:200]


def test_the_module_is_the_command():
    result = subprocess.run(
        [sys.executable, '-m', 'mmentropy', '--version'], capture_output=True, text=True, check=True
    )
    assert result.stdout == f'mmentropy {mmentropy.__version__}\n'


def test_help_lists_the_commands(capsys):
    run_command([])
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith('  ')]
    assert listed == [*COMMANDS, 'completion', *further_commands()]


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['trian'], "error: there is no command 'trian'; did you mean train?\n"),
        (['eval_maps'], "error: there is no command 'eval_maps'; did you mean eval-maps"),
        (['qqqq'], "error: there is no command 'qqqq'; mmentropy --help lists them\n"),
        (['completion'], 'error: mmentropy completion bash|zsh|fish prints the script'),
    ],
)
def test_a_name_that_there_is_not(words, said, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(words)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(said)


def test_a_command_is_the_script(monkeypatch, capsys):
    """``python -m mmentropy print-config`` is ``python tools/print_config.py``."""
    monkeypatch.setattr(sys, 'argv', list(sys.argv))
    monkeypatch.setitem(sys.modules, '__main__', sys.modules['__main__'])
    run_command(['print-config', 'mmentropy::demo/resnet18_partshapes.py', '--cfg-options', 'work_dir=here'])
    out = capsys.readouterr().out
    assert "work_dir = 'here'" in out
    assert "type='mmentropy.PartShapes'" in out


def test_the_tools_are_those_of_the_clone():
    assert TOOLS.resolve() == ROOT / 'tools'
