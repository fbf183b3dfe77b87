# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Checkpoints that are whole at any moment: the new one is there before the old one goes."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from mmentropy.engine.checkpoint_hook import INTERRUPTED, RANDOM_STATES, WholeCheckpointHook, WholeFileBackend
from mmentropy.safe_files import DiskFullError


def test_files_are_there_whole_or_not_at_all(tmp_path, monkeypatch):
    backend = WholeFileBackend()
    backend.put(b'old', tmp_path / 'a.pth')
    assert (tmp_path / 'a.pth').read_bytes() == b'old'

    def full(descriptor: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(DiskFullError, match=r'a\.pth could not be written, the disk is full; .* --resume'):
        backend.put(b'new', tmp_path / 'a.pth')
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [('a.pth', b'old')]


class Runner(SimpleNamespace):
    """What the hook asks of a runner; each checkpoint tells what lay in the folder when it was written."""

    def save_checkpoint(self, out_dir: str, name: str, *args, **kwargs) -> None:
        assert RANDOM_STATES in self.message_hub.runtime_info
        self.seen.append(sorted(path.name for path in Path(out_dir).glob('*.pth')))
        Path(out_dir, name).write_text(str(kwargs['meta']))


@pytest.fixture
def hook(tmp_path) -> WholeCheckpointHook:
    hook = WholeCheckpointHook(interval=1, max_keep_ckpts=1, filename_tmpl='epoch_{}.pth')
    hook.out_dir, hook.file_backend, hook.keep_ckpt_ids = str(tmp_path), WholeFileBackend(), deque(maxlen=1)
    return hook


def test_the_new_checkpoint_comes_before_the_old_one_goes(hook, tmp_path):
    hub = MessageHub.get_instance('checkpoint hook of a test')
    runner = Runner(work_dir=str(tmp_path), message_hub=hub, seen=[])
    assert hook.save_now(runner, 0, 3) == str(tmp_path / INTERRUPTED)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / INTERRUPTED)
    hook._save_checkpoint_with_step(runner, 1, {'epoch': 1})
    hook._save_checkpoint_with_step(runner, 2, {'epoch': 2})
    assert runner.seen == [[], [INTERRUPTED], ['epoch_1.pth']]
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_2.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')
    assert RANDOM_STATES not in hub.runtime_info


def test_the_checkpoint_of_another_model_is_refused_when_a_run_goes_on(hook):
    runner = SimpleNamespace(model=torch.nn.Linear(2, 3), _resume=True, _train_loop={})
    state = runner.model.state_dict()
    hook.after_load_checkpoint(runner, {'state_dict': state})
    del state['bias']
    with pytest.raises(ValueError, match='does not fit the model of this config: 1 of its 2 entries are missing'):
        hook.after_load_checkpoint(runner, {'state_dict': state})
