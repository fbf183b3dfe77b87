# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The wheel: whole without the repository. Built once, installed beside the environment's packages, tried elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: What a wheel is built from.
SOURCES = ('mmentropy', 'configs', 'tools', 'model-index.yml', 'setup.py', 'pyproject.toml', 'README.md')
SMALL = (
    'train_cfg.max_epochs=2',
    'train_dataloader.dataset.length=2',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
)


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr[-3000:]
    return result


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, which a build may fill with its own files."""
    folder = tmp_path_factory.mktemp('wheel')
    leave = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / 'src' / name, symlinks=True, ignore=leave)
        else:
            shutil.copy(ROOT / name, folder / 'src' / name)
    run(
        [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '--wheel-dir', '.', './src'],
        folder,
    )
    (built,) = folder.glob('mmentropy-*.whl')
    return built


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with nothing but the wheel's content; it goes before the environment's own packages."""
    folder = tmp_path_factory.mktemp('installed')
    pip = [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', '.']
    run([*pip, str(wheel)], folder)
    return folder


def test_the_wheel_holds_everything_that_mim_looks_for(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [*ROOT.glob('configs/**/*.py'), *ROOT.glob('configs/**/*.yml'), *ROOT.glob('tools/**/*.py')]
    files += [*ROOT.glob('tools/*.sh'), ROOT / 'model-index.yml']
    assert len(files) > 100
    assert {f'mmentropy/.mim/{path.relative_to(ROOT).as_posix()}' for path in files} <= names
    assert not [name for name in names if '__pycache__' in name or name.startswith(('tests/', 'configs/'))]


@pytest.mark.slow
def test_trains_and_tests_from_another_folder(installed, tmp_path):
    """What ``mim train`` and ``mim test`` start, on a config with ``mmentropy::`` as its base."""
    (tmp_path / 'mine.py').write_text("_base_ = 'mmentropy::demo/resnet18_partshapes_ent.py'\nwork_dir = 'here'\n")
    code = 'import mmentropy; print(mmentropy.__file__)'
    where = run([sys.executable, '-c', code], tmp_path, PYTHONPATH=str(installed)).stdout
    assert where.startswith(str(installed))
    script = str(installed / 'mmentropy/.mim/tools/train.py')
    command = [sys.executable, script, 'mine.py', '--launcher', 'none', '--no-validate', '--cfg-options', *SMALL]
    run(command, tmp_path, PYTHONPATH=str(installed))
    assert (tmp_path / 'here/epoch_2.pth').is_file()
    test = ['test', 'mmentropy::demo/resnet18_partshapes_ent.py', 'here/epoch_2.pth', '--out', 'figures.json']
    small = ['test_dataloader.dataset.length=4', *(key.replace('train_', 'test_') for key in SMALL[2:])]
    command = [sys.executable, '-m', 'mmentropy', *test, '--cfg-options', *small]
    run(command, tmp_path, PYTHONPATH=str(installed))
    assert (tmp_path / 'figures.json').is_file()
