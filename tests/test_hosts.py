# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Hosts that are missing or untried: one sentence, one warning."""

import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mmentropy import hosts


def test_untested_version_warns_once(monkeypatch):
    monkeypatch.setattr(hosts, '_checked', set())
    monkeypatch.setattr(hosts, 'version', lambda name: '9.0')
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


def pretend(monkeypatch, *distributions: str) -> None:
    def version(name: str) -> str:
        if name not in distributions:
            raise hosts.PackageNotFoundError(name)
        return '1.2.3'

    monkeypatch.setattr(hosts, 'version', version)


@pytest.mark.parametrize(
    ('there', 'family'),
    [
        ((), None),
        (('onedl-mmcv', 'onedl-mmengine'), 'onedl'),
        (('mmcv-lite', 'mmpretrain'), 'openmmlab'),
        (('mmcv', 'onedl-mmengine'), None),
    ],
)
def test_family_is_read_from_what_is_installed(there, family, monkeypatch):
    pretend(monkeypatch, *there)
    assert hosts.family() == family


def test_operators_that_mmcv_lite_lacks_can_be_imported_and_not_called(monkeypatch):
    """As mmcv's own loader asks for them; the maintained family, which does without, gets no stand-in."""
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    monkeypatch.setattr(hosts.importlib.util, 'find_spec', lambda name: None)
    pretend(monkeypatch, 'onedl-mmsegmentation')
    hosts.stand_in_for_operators()
    assert 'mmcv._ext' not in sys.modules
    pretend(monkeypatch, 'mmsegmentation', 'mmcv-lite')
    hosts.stand_in_for_operators()
    operators = importlib.import_module('mmcv._ext')
    monkeypatch.undo()
    assert importlib.util.find_spec('mmcv._ext') is operators.__spec__
    del sys.modules['mmcv._ext']
    assert hasattr(operators, 'psamask_forward')
    assert not hasattr(operators, '__path__')
    with pytest.raises(ImportError, match='operator psamask_forward is called, and mmcv-lite has none: install mmcv'):
        operators.psamask_forward(1, out=2)


def test_hosts_are_imported_without_a_word():
    """In a process of its own, as every host says it once: on stdout as well as on stderr."""
    code = 'import mmentropy.datasets.readers.cub, mmentropy.models, mmentropy.segmentation'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert result.stdout + result.stderr == ''
