# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Shared fixtures. Optional material lies beside the repository; tests that need it skip with a reason without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Workers share the machine's cores; one thread each keeps them out of each other's way.
os.environ.setdefault('OMP_NUM_THREADS', '1')


def shared_folder() -> Path:
    """Where the optional real data lies: MMENTROPY_SHARED, else ``shared`` beside the repository."""
    return Path(os.environ.get('MMENTROPY_SHARED', ROOT.parent / 'shared'))


@pytest.fixture(scope='session')
def repo_root() -> Path:
    return ROOT


@pytest.fixture(autouse=True)
def _clean_process(monkeypatch):
    """Each test starts without a default scope and without torch's switches for checkpoints, and leaves none."""
    from mmengine.registry import DefaultScope

    DefaultScope._instance_dict.clear()
    for switch in ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'):
        # Set, then deleted: monkeypatch then restores the absence whatever the test did.
        monkeypatch.setenv(switch, '0')
        monkeypatch.delenv(switch)
    yield
    DefaultScope._instance_dict.clear()


def partshapes_config(config: str, work_dir: Path, **options):
    """A demo config cut down to seconds: few images, two epochs, no worker processes."""
    from mmengine.config import Config

    cfg = Config.fromfile(str(ROOT / config))
    cfg.work_dir = str(work_dir)
    cfg.train_dataloader.update(batch_size=16, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.length = 64
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=16, num_workers=0, persistent_workers=False)
        loader.dataset.length = 32
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    cfg.log_level = 'ERROR'
    cfg.merge_from_dict(options)
    return cfg


@pytest.fixture
def tiny_config():
    """:func:`partshapes_config` as a fixture."""
    return partshapes_config
