# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A copy of the repository's layout in which documented commands run without leaving anything behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from doc_blocks import ROOT, files_of


@pytest.fixture(scope='session')
def sandbox(tmp_path_factory) -> Path:
    """tools/, benchmarks/ and docs/ linked, configs/ copied, and the files that the pages tell the reader to write."""
    folder = tmp_path_factory.mktemp('repository')
    for name in ('tools', 'benchmarks', 'docs', 'requirements', 'Makefile'):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / 'configs', folder / 'configs')
    for path, text in files_of():
        (folder / path).write_text(text)
    return folder
