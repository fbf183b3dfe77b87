# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What may be left out is said in one list; everything else that skips fails the run where CI=true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder with this suite's conftest, an allowed skip, and one test that passes."""
    (tmp_path / 'conftest.py').write_text((ROOT / 'tests/conftest.py').read_text())
    (tmp_path / 'test_allowed.py').write_text(
        "import pytest\n\ndef test_it():\n    pytest.skip('no Chromium on this machine')\n\n"
        'def test_other():\n    pass\n'
    )
    return tmp_path


def run(suite: Path, ci: str, *options: str) -> subprocess.CompletedProcess:
    env = dict(os.environ, CI=ci, PYTHONPATH=str(ROOT))
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *options, str(suite)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=suite)


@pytest.mark.parametrize('options', [(), ('-n', '1')])
def test_a_skip_without_a_place_on_the_list_fails_ci(suite, options):
    assert run(suite, 'true', *options).returncode == 0
    (suite / 'test_module.py').write_text(
        "import pytest\n\npytest.importorskip('no_such_package', reason='forgotten')\n"
    )
    (suite / 'test_gap.py').write_text("import pytest\n\ndef test_it():\n    pytest.skip('no time today')\n")
    done = run(suite, 'true', *options)
    assert done.returncode == 1
    assert '2 tests were left out' in done.stdout
    assert 'test_gap.py::test_it: Skipped: no time today' in done.stdout
    assert 'test_module.py: Skipped: forgotten' in done.stdout


def test_elsewhere_a_skip_is_a_skip(suite):
    (suite / 'test_gap.py').write_text("import pytest\n\ndef test_it():\n    pytest.skip('no time today')\n")
    assert run(suite, 'false').returncode == 0
