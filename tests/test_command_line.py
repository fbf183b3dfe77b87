# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Options of all tools, and errors that are one sentence."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pickle import UnpicklingError

import pytest
import torch
from mmengine.registry import Registry

from mmentropy.command_line import first_line, one_sentence_errors, positive_float, positive_int, user_message


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (FileNotFoundError('data/x is missing; see docs'), 'error: data/x is missing; see docs\n'),
        (KeyError('a is not in b\nmore'), 'error: a is not in b\n'),
        (UnpicklingError('global os.system'), 'add --trust-checkpoint'),
        (ChildProcessError('a worker was ended'), 'error: a worker was ended\n'),
    ],
)
def test_errors_are_one_sentence(error, message, capsys, monkeypatch):
    monkeypatch.delenv('MMENTROPY_DEBUG', raising=False)

    @one_sentence_errors
    def main():
        raise error

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    monkeypatch.setenv('MMENTROPY_DEBUG', '1')
    with pytest.raises(type(error)):
        main()


def test_the_cause_speaks_for_what_wraps_it():
    wrapped = KeyError('class X in registry')
    wrapped.__cause__ = ValueError('row 3 is bad')
    assert first_line(wrapped) == 'row 3 is bad'


def test_a_data_workers_own_sentence():
    stack = 'Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File x\n'
    assert first_line(ValueError(stack + 'ValueError: row 3 is bad\n')) == 'row 3 is bad'
    assert first_line(KeyError(stack.replace('Value', 'Key') + "KeyError: 'no box'")) == 'no box'


@pytest.mark.parametrize(
    ('kind', 'good', 'value', 'bad'),
    [
        (positive_int, '7', 7, ['0', '-1', '2.5', 'x', '']),
        (positive_float, '0.25', 0.25, ['0', '-1', 'nan', 'inf', 'x']),
    ],
)
def test_options_that_count(kind, good, value, bad, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--size', type=kind)
    assert parser.parse_args(['--size', good]).size == value
    for text in bad:
        with pytest.raises(SystemExit):
            parser.parse_args([f'--size={text}'])
        assert 'argument --size: expected a' in capsys.readouterr().err


def test_a_config_that_gives_a_type_what_it_does_not_take():
    registry = Registry('things')

    @registry.register_module()
    class Thing:
        def __init__(self, size):
            if size == 0:
                len(size)

    for settings, words in ((dict(sise=1), "unexpected keyword argument 'sise'"), (dict(), 'missing 1 required')):
        with pytest.raises(TypeError) as error:
            registry.build(dict(type='Thing', **settings))
        assert user_message(error.value).startswith('the config builds Thing, which ')
        assert words in user_message(error.value)
    # Other TypeErrors are faults, and keep their stack.
    with pytest.raises(TypeError) as error:
        registry.build(dict(type='Thing', size=0))
    assert user_message(error.value) is None
    with pytest.raises(TypeError) as error:
        Thing(sise=1)
    assert user_message(error.value) is None


def test_memory_is_told():
    for error in (torch.cuda.OutOfMemoryError('CUDA out of memory. Tried\nmore'), MemoryError('no room')):
        assert 'lower the batch size' in user_message(error)
    assert user_message(RuntimeError('shapes do not fit')) is None


def test_who_has_lost_a_process_of_its_run_leaves_at_once(monkeypatch, capsys):
    """Leaving in order would wait for the one that has gone."""
    monkeypatch.delenv('MMENTROPY_DEBUG', raising=False)
    codes = []
    monkeypatch.setattr('mmentropy.command_line.os._exit', codes.append)

    @one_sentence_errors
    def main():
        raise RuntimeError(
            '[/x/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:1: Connection reset by peer.'
        )

    with pytest.raises(SystemExit):
        main()
    assert codes == [2]
    assert 'error: another process of this run has ended' in capsys.readouterr().err


def test_ctrl_c_is_no_stack(monkeypatch, capsys):
    monkeypatch.delenv('MMENTROPY_DEBUG', raising=False)

    @one_sentence_errors
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130
    assert capsys.readouterr().err == 'interrupted\n'


def test_every_tool_is_safe_from_its_first_line(monkeypatch):
    """Weights are data whoever reads them, names of any bytes are printed, children do not stay."""
    code = (
        'import os, sys\nfrom mmentropy.command_line import one_sentence_errors\n'
        '@one_sentence_errors\ndef main():\n'
        '    print(*(os.environ.get(f"TORCH_FORCE_{name}WEIGHTS_ONLY_LOAD") for name in ("", "NO_")))\n'
        '    print(os.fsdecode(b"a\\xff.jpg"))\nmain()\n'
    )
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout == '1 None\na\\udcff.jpg\n', done.stderr
