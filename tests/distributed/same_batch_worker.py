# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The processes of ``test_same_batch``: fifty iterations and an evaluation, in one process and in two."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from tiny_runs import config, free_port, go, weights

from mmentropy.engine import build_runner, start_processes

GLOBAL_BATCH = 8


class Curve(Hook):
    """The loss of each global batch: the mean over the processes."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        loss = outputs['loss'].detach().clone()
        all_reduce(loss, 'mean')
        self.losses.append(loss.item())


def run(folder: str, rank: int, world: int, port: int) -> None:
    torch.set_num_threads(1)
    cfg = config(Path(folder, str(world)))
    # Group norm: batch norm takes its statistics from a process's own part of the batch, and SyncBN needs a GPU.
    cfg.model.backbone.norm_cfg = dict(type='GN', num_groups=4)
    cfg.model.erasing = ()  # drawn apart in each process, as it should be
    cfg.train_dataloader.update(batch_size=GLOBAL_BATCH // world)
    cfg.train_dataloader.dataset.update(length=10 * GLOBAL_BATCH, pipeline=cfg.test_pipeline)
    cfg.test_dataloader.dataset.length = 31
    cfg.test_evaluator = [*cfg.test_evaluator, dict(type='mmentropy.BoxLocalizationMetric', eval_size=32)]
    cfg.train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=10)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=10)
    # At the config's 0.1 a difference in the last digit grows a thousandfold in fifty steps, on some versions of torch.
    cfg.optim_wrapper.optimizer.lr = 0.03
    cfg.resume = False
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    start_processes(cfg, 'pytorch' if world > 1 else 'none')
    runner = build_runner(cfg)
    curve = Curve()
    runner.register_hook(curve)
    runner.train()
    end = weights(runner.model)
    # The same weights in both for the figures: those of the run of one process.
    path = Path(folder, 'one.pt')
    model = runner.model.module if world > 1 else runner.model
    if world == 1:
        torch.save(model.state_dict(), path)
    model.load_state_dict(torch.load(path))
    metrics = runner.test()
    torch.save(end, Path(folder, f'{world}_{rank}.pt'))
    Path(folder, f'{world}_{rank}.json').write_text(json.dumps(dict(losses=curve.losses, metrics=metrics)))


if __name__ == '__main__':
    place = sys.argv[1]
    assert go((place, 0, 1, 0), target=run) == [0]
    port = free_port()
    assert go((place, 0, 2, port), (place, 1, 2, port), target=run) == [0, 0]
