# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A real run through mmengine's Runner: train, validate, checkpoint, resume, test."""

import pytest
import torch
from mmengine.hooks import Hook

from mmentropy.engine import build_runner

DEMO = 'configs/demo/resnet18_partshapes_ent.py'


class Interrupt(Hook):
    """Stops the run after its first epoch, once the checkpoint is written."""

    priority = 'VERY_LOW'

    def after_train_epoch(self, runner) -> None:
        if runner.epoch == 0:
            raise KeyboardInterrupt


def weights(runner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in runner.model.parameters()])


def test_train_validate_checkpoint_resume_test(tiny_config, tmp_path):
    straight = build_runner(tiny_config(DEMO, tmp_path / 'straight', experiment_name='straight'))
    start = weights(straight).clone()
    straight.train()
    assert (tmp_path / 'straight/epoch_2.pth').is_file()
    assert torch.isfinite(weights(straight)).all()
    assert not torch.equal(start, weights(straight))
    entropy = straight.message_hub.get_scalar('train/entropy').data[0]
    assert len(entropy) == 8  # 64 images in batches of 16, two epochs; once an iteration, on the pooling that predicts
    assert ((entropy > 0) & (entropy < 2.31)).all()  # log 10 = 2.303
    validated = straight.message_hub.get_scalar('val/wsol/MaxBoxAccV2').current()

    stopped = build_runner(tiny_config(DEMO, tmp_path / 'resumed', experiment_name='stopped'))
    stopped.register_hook(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    assert not (tmp_path / 'resumed/epoch_2.pth').exists()
    resumed = build_runner(tiny_config(DEMO, tmp_path / 'resumed', experiment_name='resumed', resume=True))
    resumed.train()
    assert resumed.epoch == 2
    assert resumed.iter == 8

    cfg = tiny_config(DEMO, tmp_path / 'test', experiment_name='test', load_from=str(tmp_path / 'straight/epoch_2.pth'))
    tested = build_runner(cfg).test()
    assert tested['wsol/MaxBoxAccV2'] == pytest.approx(validated)
