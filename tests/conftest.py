# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Shared fixtures. Optional material lies beside the repository; tests that need it skip with a reason without it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Workers share the machine's cores; one thread each keeps them out of each other's way.
os.environ.setdefault('OMP_NUM_THREADS', '1')


#: The only reasons for which a test may be left out where CI=true: what cannot be installed by the project's own files.
ALLOWED_SKIPS = (
    r'the public WSOL metadata are not present',
    r'no Chromium on this machine',
    r'needs an accelerator',
    r'pydensecrf2\)? is not installed',  # no release builds on Python 3.13
    r'mounting a tmpfs is not permitted here',
    r'network namespaces are not permitted here',
    r'virtual network cables \(veth\) are not permitted here',
    r'a plot of matplotlib [\d.]+: another version lays it out differently',
)


def gaps(skipped: list) -> list[str]:
    """Skips whose reason is none of :data:`ALLOWED_SKIPS`, a line each."""
    lines = []
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(re.search(allowed, reason) for allowed in ALLOWED_SKIPS):
            lines.append(f'{report.nodeid}: {reason}')
    return lines


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where CI=true a skip that is not allowed fails the run: what never runs there is not tested."""
    reporter = session.config.pluginmanager.get_plugin('terminalreporter')
    if reporter is None or os.environ.get('CI') != 'true':
        return
    found = gaps(reporter.stats.get('skipped', []))
    if found:
        reporter.write_line(
            f'\n{len(found)} tests were left out for reasons that tests/conftest.py does not allow:', red=True
        )
        for line in found:
            reporter.write_line(line, red=True)
        session.exitstatus = 1


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
