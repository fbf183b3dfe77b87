# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The preparation from the command line: what is missing, and the check at its end."""

from __future__ import annotations

import tarfile
from pathlib import Path

import dataset_worlds as worlds
import pytest
from run_tool import run_tool

from mmentropy.datasets.preparing.prepare import RECIPES, prepare

TOOL = 'dataset_tools/prepare.py'


def tar(archive: Path, *trees: tuple[Path, str], mode: str = 'w') -> None:
    """An archive of (directory, its name inside)."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, mode) as file:
        for tree, name in trees:
            file.add(tree, name)


class TestCommand:
    def test_missing_archives_are_named_with_their_address(self, tmp_path: Path) -> None:
        for name, recipe in RECIPES.items():
            with pytest.raises(FileNotFoundError) as caught:
                prepare(name, tmp_path, tmp_path / 'dst')
            for source in recipe.sources:
                assert (source.url in str(caught.value)) or not source.required
        with pytest.raises(FileNotFoundError, match='is no directory'):
            prepare('cub', tmp_path / 'nowhere', tmp_path / 'dst')
        with pytest.raises(KeyError, match='cubs'):
            prepare('cubs', tmp_path, tmp_path)

    def test_ends_with_the_check(self, tmp_path: Path) -> None:
        """Two classes' counts hold for a part of Tiny ImageNet only if 500 images a class are there."""
        world, src = worlds.tiny_imagenet(tmp_path / 'world'), tmp_path / 'src'
        tar(src / 'tiny-imagenet-2.tar', (world, 'tiny-imagenet-2'))
        done = run_tool(TOOL, 'tinyimagenet', '--src', str(src), '--dst', str(tmp_path / 'dst'))
        assert done.code == 1
        assert '6 images in train, 1000 are documented' in done.out
        lost = run_tool(TOOL, 'tinyimagenet', '--src', str(tmp_path / 'empty'), '--dst', str(tmp_path / 'dst'))
        assert lost.code == 2
        assert 'Traceback' not in lost.err
        assert 'is no directory' in lost.err
