# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Hosts that are missing or untried: one sentence, one warning."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mmentropy import hosts


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
    assert hosts.release(text) == key


def test_who_imports_mmpretrain_has_quieted_it_before():
    """In its own module or in a package above it: those above do not import everything."""
    package, quiet = Path(hosts.__file__).parent, 'from mmentropy import _needs_hosts'
    checked = 0
    for path in [path for floor in ('datasets', 'engine', 'evaluation') for path in (package / floor).rglob('*.py')]:
        text = path.read_text(encoding='utf-8')
        found = re.search(r'^(from|import) (mmpretrain|mmcv|mmseg)\b', text, re.MULTILINE)
        if found and path.name != '__init__.py':
            folders = [folder for folder in path.parents if folder.is_relative_to(package)]
            above = any(quiet in (folder / '__init__.py').read_text(encoding='utf-8') for folder in folders)
            assert above or quiet in text[: found.start()], f'{path} does not import _needs_hosts before {found[0]}'
            checked += 1
    assert checked > 10


def test_hosts_are_imported_without_a_word():
    """In a process of its own, as every host says it once: on stdout as well as on stderr."""
    code = 'import mmentropy.datasets.readers.cub, mmentropy.models, mmentropy.segmentation'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert result.stdout + result.stderr == ''
