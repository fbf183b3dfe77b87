# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Each problem is found, and its cure is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmentropy import hosts
from mmentropy.commands import doctor
from mmentropy.commands.doctor import Finding, examine


def of(topic: str, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.topic == topic]


def test_here_nothing_stops_the_work(tmp_path: Path):
    """The environment of the tests is whole; data sets are told apart."""
    (tmp_path / 'cub').mkdir()
    (tmp_path / 'cub/.prepared.json').write_text('{}')
    (tmp_path / 'glas').mkdir()
    (tmp_path / 'glas/Grade.csv').write_text('name')
    findings = list(examine(tmp_path))
    assert [finding for finding in findings if finding.stops] == []
    told = {finding.told.split()[0]: finding for finding in of('data', findings)}
    assert told['cub'].cure == ''
    assert 'mmentropy check glas' in told[str(tmp_path / 'glas')].cure
    assert 'tinyimagenet' in told['not'].told
    assert len(of('hosts', findings)) == 4
    assert int(of('files', findings)[0].told.split()[0]) > 100


@pytest.mark.parametrize(
    ('there', 'told', 'cure', 'stops'),
    [
        ({}, 'mmengine is not installed', 'mmentropy[onedl]', True),
        ({'mmpretrain': '1.2.0'}, 'mmengine is not installed', 'mmentropy[openmmlab-lite]', True),
        ({'onedl-mmengine': '0.10.12', 'mmengine': '0.10.7'}, 'two packages for one name', 'pip uninstall', True),
        ({'onedl-mmengine': '0.12.0'}, 'onedl-mmengine 0.12.0', 'mmentropy[onedl]', False),
    ],
)
def test_hosts(there, told, cure, stops, monkeypatch):
    def version(name: str) -> str:
        if name not in there:
            raise hosts.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(hosts, 'version', version)
    found = next(doctor._hosts())
    assert told in found.told
    assert cure in found.cure
    assert found.stops is stops


def test_a_part_that_fails_is_a_finding():
    def broken():
        raise OSError('libcudart.so: cannot open')
        yield

    (found,) = doctor._guarded(broken)
    assert (found.told, found.stops) == ('OSError: libcudart.so: cannot open', True)
    assert found.text().startswith('✗  error     OSError')
    assert '→ install mmentropy again' in found.text()


def test_little_shared_memory_is_told(monkeypatch):
    class Usage:
        total = 64 * 2**20

    monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda folder: Usage)
    (found,) = doctor._shared_memory()
    assert found.told == '/dev/shm has 64 MB, which data workers fill'
    assert '--shm-size' in found.cure
