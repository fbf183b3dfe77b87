# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import subprocess
import sys

import pytest


def python(code: str) -> str:
    out = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=True)
    return out.stdout.strip()


def test_import_is_light():
    code = 'import sys; before = set(sys.modules); import mmentropy; print(sorted(set(sys.modules) - before))'
    assert python(code) == "['mmentropy']"


def test_ops_import_no_host():
    code = (
        'import sys, pkgutil, importlib, mmentropy.ops as ops\n'
        'for module in pkgutil.iter_modules(ops.__path__): importlib.import_module("mmentropy.ops." + module.name)\n'
        'print([m for m in ("mmengine", "mmcv", "mmpretrain", "mmseg") if m in sys.modules])'
    )
    assert python(code) == '[]'


@pytest.mark.parametrize(
    'module', ['mmentropy.models', 'mmentropy.engine', 'mmentropy.datasets', 'mmentropy.evaluation']
)
def test_without_the_hosts_one_sentence_says_what_to_install(module):
    code = (
        'import importlib.util as u, sys\n'
        'find = u.find_spec\n'
        'hosts = ("mmengine", "mmcv", "mmpretrain", "mmseg")\n'
        'class Gone:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        '        if name.split(".")[0] in hosts: raise ModuleNotFoundError("No module named " + name, name=name)\n'
        'sys.meta_path.insert(0, Gone())\n'
        'u.find_spec = lambda name, *a: None if name in hosts else find(name, *a)\n'
        'try:\n'
        f'    import {module}\n'
        'except ImportError as error: print(error)'
    )
    message = python(code)
    assert 'pip install "mmentropy[onedl]"' in message
    assert '\n' not in message
