# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import subprocess
import sys
import warnings

import pytest

from mmentropy import hosts


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


def test_untested_version_warns_once(monkeypatch):
    monkeypatch.setattr(hosts, '_checked', set())
    monkeypatch.setattr(
        hosts, 'version', lambda name: '9.0' if name == 'onedl-mmengine' else hosts.TESTED['mmcv'][name][0]
    )
    monkeypatch.setitem(hosts.TESTED, 'mmengine', {'onedl-mmengine': ('0.10.10', '0.11')})
    with pytest.warns(UserWarning, match=r'onedl-mmengine 9\.0 is outside the versions'):
        hosts.require_hosts('mmengine')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        hosts.require_hosts('mmengine')


def test_missing_host_names_the_command():
    with pytest.raises(ImportError, match=r'needs no_such_host, which is not installed: run `pip install'):
        hosts.require_hosts('no_such_host')


@pytest.mark.parametrize(
    ('text', 'key'), [('0.10.12', (0, 10, 12)), ('2.0rc1', (2, 0)), ('1.2.2+cu118', (1, 2, 2)), ('1.dev0', (1,))]
)
def test_version_keys(text, key):
    assert hosts._key(text) == key
