# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Processes of ``test_minmax_processes``: one and two that train alike; one that is killed and one that goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from minmax_models import build, found, images, samples, sgd, weights
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner

from mmentropy.engine import trust_checkpoints

ROOT = Path(__file__).resolve().parents[2]
STEPS, GLOBAL_BATCH = 5, 8


def train(rank: int, world: int, folder: str) -> None:
    """Five steps with erasing on this process's share of each global batch; the mean losses and the last weights."""
    if world > 1:
        dist.init_process_group('gloo', init_method=f'file://{folder}/store', world_size=world, rank=rank)
    model = build(erasing=dict(steps=3, start_epoch=0))
    plan = []
    for step in range(STEPS):
        x = images(GLOBAL_BATCH, seed=step)
        labels = found(model, x)
        # Some are wrong; in step 0 all that the first of two processes has are, so it makes one pass, the other three.
        for i in (0, 1, 2, 3) if step == 0 else (0, 5):
            labels[i] = (labels[i] + 1) % 4
        plan.append((x, labels))
    wrapped = MMDistributedDataParallel(model, device_ids=None) if world > 1 else model
    optim, log = sgd(model), []
    share = slice(rank * GLOBAL_BATCH // world, (rank + 1) * GLOBAL_BATCH // world)
    for x, labels in plan:
        data = dict(inputs=x[share], data_samples=samples(labels[share]))
        logged = wrapped.train_step(data, optim)
        values = torch.stack([logged[k] for k in ('loss', 'loss_localizer', 'loss_cls', 'loss_area')]).detach()
        passes = logged['passes'].item()
        if world > 1:
            dist.all_reduce(values)
        log.append((values / world).tolist() + [passes])
    torch.save(dict(log=log, weights=weights(model)), Path(folder, f'{world}_{rank}.pt'))
    if world > 1:
        dist.destroy_process_group()


class Diary(Hook):
    """Writes what every iteration had; kills its own process, without a word, before iteration ``die_at``."""

    priority = 'LOWEST'

    def __init__(self, path: str, die_at: int | None = None) -> None:
        self.path, self.die_at = path, die_at

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if runner.iter == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        model = runner.model
        state = [model.barrier_t, model.sigma, model.erasing_sigma]
        entry = [runner.iter, *(s.item() for s in state), model.steps, outputs['loss'].item()]
        with open(self.path, 'a', encoding='utf-8') as file:
            file.write(json.dumps(entry) + '\n')


def config(folder: str, by_epoch: bool) -> Config:
    """Three epochs of four iterations, erasing from the second; a checkpoint every epoch, or every five iterations."""
    cfg = Config.fromfile(str(ROOT / 'configs/minmax/resnet18_partshapes_minmax.py'))
    cfg.work_dir = folder
    cfg.log_level = 'ERROR'
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    cfg.model.erasing.update(steps=2)
    # Random crops come from numpy's global generator, which is the data's affair and not the schedules'.
    dataset = dict(cfg.train_dataloader.dataset, length=16, pipeline=cfg.test_pipeline)
    sampler = dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True)
    cfg.train_dataloader.update(
        batch_size=4, num_workers=0, persistent_workers=False, dataset=dataset, sampler=sampler, pin_memory=False
    )
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    cfg.param_scheduler = None
    cfg.optim_wrapper.optimizer.lr = 0.01
    hook = cfg.custom_hooks[0]
    hook.update(sigma=dict(start=0.5, factor=0.98, end=0.3), erasing_sigma=dict(start=10.0, factor=1.1, end=20.0))
    if by_epoch:
        cfg.train_cfg = dict(by_epoch=True, max_epochs=3)
        cfg.default_hooks.checkpoint.update(interval=1)
    else:
        cfg.train_cfg = dict(by_epoch=False, max_iters=12)
        hook.update(epoch_length=4)
        cfg.default_hooks.checkpoint.update(interval=5, by_epoch=False)
    return cfg


def run(folder: str, by_epoch: bool, die_at: int | None, resume: bool) -> None:
    torch.set_num_threads(1)
    trust_checkpoints(False)
    cfg = config(folder, by_epoch)
    cfg.resume = resume
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Diary(f'{folder}/diary.jsonl', die_at))
    runner.train()
    torch.save(weights(runner.model), f'{folder}/weights.pt')


def main(what: str, folder: str) -> None:
    """Forked, so that torch is imported once."""
    context = multiprocessing.get_context('fork')

    def go(target, arguments: list[tuple], expected: int = 0) -> None:
        processes = [context.Process(target=target, args=a) for a in arguments]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode != expected for process in processes):
            sys.exit(f'{target.__name__}{arguments} ended with {[p.exitcode for p in processes]}, not {expected}')

    if what == 'ddp':
        go(train, [(0, 1, folder)])
        go(train, [(0, 2, folder), (1, 2, folder)])
        return
    for by_epoch in (True, False):
        whole, broken = (f'{folder}/{name}_{"epochs" if by_epoch else "iters"}' for name in ('whole', 'broken'))
        Path(whole).mkdir()
        Path(broken).mkdir()
        go(run, [(whole, by_epoch, None, False)])
        go(run, [(broken, by_epoch, 7, False)], -signal.SIGKILL)  # in the middle of the second epoch
        go(run, [(broken, by_epoch, None, True)])


if __name__ == '__main__':
    main(*sys.argv[1:])
