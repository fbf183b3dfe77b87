# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""bfloat16 on the CPU: in the forward passes, not in the weights."""

import torch

from mmentropy.engine import build_runner
from mmentropy.engine.amp import CpuAmpOptimWrapper, cpu_has_bf16

DEMO = 'configs/demo/resnet18_partshapes_ent.py'


def test_bf16_autocast_on_the_cpu(tiny_config, tmp_path):
    cfg = tiny_config(DEMO, tmp_path, experiment_name='bf16')
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_cfg.max_epochs = 2
    cfg.optim_wrapper.type = 'mmentropy.CpuAmpOptimWrapper'
    runner = build_runner(cfg)
    kinds = []
    runner.model.backbone.conv1.register_forward_hook(lambda module, args, output: kinds.append(output.dtype))
    runner.train()
    assert isinstance(runner.optim_wrapper, CpuAmpOptimWrapper)
    assert set(kinds) == {torch.bfloat16}
    assert all(torch.isfinite(p).all() for p in runner.model.parameters())
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}


def test_an_older_torch_that_cannot_tell_has_none(monkeypatch):
    for name in ('_is_amx_tile_supported', '_is_avx512_bf16_supported'):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert cpu_has_bf16() is False
    monkeypatch.setattr(torch.cpu, '_is_avx512_bf16_supported', lambda: True, raising=False)
    assert cpu_has_bf16() is True
