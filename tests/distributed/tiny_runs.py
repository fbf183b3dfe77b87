# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A real training run of seconds, hooks that write it down and hooks that do it harm."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import mmpretrain.datasets
import mmpretrain.evaluation
import mmpretrain.models
import mmpretrain.visualization  # noqa: F401  here, once: each forked process would import them anew
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

import mmentropy.datasets
import mmentropy.evaluation
import mmentropy.models
import mmentropy.visualization  # noqa: F401
from mmentropy.engine import build_runner, one_sentence_errors, start_processes

ROOT = Path(__file__).resolve().parents[2]
EPOCHS, ITERATIONS = 3, 6


def config(folder: Path, workers: int = 0, by_epoch: bool = True, **options) -> Config:
    """Entropy pooling with ADL on 32-pixel images, random crops, a cosine: three epochs of six iterations.

    Checkpoints every four iterations, so inside epochs, too. Random numbers: crops (numpy), ADL (torch), the order.
    """
    cfg = Config.fromfile(str(ROOT / 'configs/demo/resnet18_partshapes_ent.py'))
    cfg.work_dir, cfg.log_level = str(folder), 'ERROR'
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    cfg.model.erasing = [dict(type='mmentropy.ADL', layers=('layer4',))]
    crop, pack = cfg.train_pipeline
    cfg.train_dataloader.update(batch_size=4, num_workers=workers, persistent_workers=False)
    cfg.train_dataloader.dataset.update(length=4 * ITERATIONS, image_size=32, pipeline=[dict(crop, crop_size=32), pack])
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
        loader.dataset.update(length=8, image_size=32)
    cfg.val_evaluator = cfg.test_evaluator = [
        dict(type='mmentropy.PixelLocalizationMetric', eval_size=32),
        dict(type='mmentropy.EntropyMetric'),
    ]
    cfg.train_cfg = dict(by_epoch=True, max_epochs=EPOCHS, val_interval=1)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=4, max_keep_ckpts=1)
    cfg.custom_hooks = [dict(type='mmentropy.EpochSeedHook')]
    if not by_epoch:
        cfg.train_dataloader.sampler.type = 'InfiniteSampler'
        cfg.train_cfg = dict(by_epoch=False, max_iters=EPOCHS * ITERATIONS, val_interval=ITERATIONS)
        cfg.param_scheduler = [dict(type='PolyLR', eta_min=1e-4, begin=0, end=EPOCHS * ITERATIONS, by_epoch=False)]
    cfg.merge_from_dict(options)
    cfg.resume = True
    return cfg


class Diary(Hook):
    """What every iteration and validation saw: learning rate, pixels, loss, figures."""

    priority = 'VERY_LOW'

    def __init__(self, path: Path) -> None:
        self.path = path

    def _write(self, *entry) -> None:
        with open(self.path, 'a', encoding='utf-8') as file:
            file.write(json.dumps(entry) + '\n')

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        pixels = sum(image.long().sum().item() for image in data_batch['inputs'])
        self._write(runner.iter, batch_idx, runner.optim_wrapper.get_lr()['lr'][0], pixels, outputs['loss'].item())

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._write(f'val {runner.iter}', metrics)


class At(Hook):
    """Calls something once: before iteration ``iteration`` or a later one, or in a validation that follows it."""

    priority = 'VERY_HIGH'

    def __init__(self, iteration: int, do: Callable[[], None], validating: bool = False) -> None:
        self.iteration, self.do, self.validating, self.done = iteration, do, validating, False

    def _look(self, runner: Runner) -> None:
        if runner.iter >= self.iteration and not self.done:
            self.done = True
            self.do()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        if not self.validating:
            self._look(runner)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.validating:
            self._look(runner)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def train(cfg: Config, hooks: tuple[Hook, ...] = (), rank: int = 0, world: int = 1, port: int = 0) -> None:
    """The body of a process: what tools/train.py does, with the hooks; its errors go to ``stderr.txt``."""
    folder = Path(cfg.work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    stderr = os.open(folder / 'stderr.txt', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stderr, 2)
    torch.set_num_threads(1)
    if world > 1:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
        start_processes(cfg, 'pytorch')

    @one_sentence_errors
    def main() -> None:
        runner = build_runner(cfg)
        runner.register_hook(Diary(folder / f'diary_{rank}.jsonl'))
        for hook in hooks:
            runner.register_hook(hook)
        runner.train()
        torch.save(weights(runner.model), folder / f'weights_{rank}.pt')

    main()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def go(*arguments: tuple, target: Callable = train) -> list[int]:
    """Run processes, forked so that torch is imported once, to their end; their exit codes."""
    sys.stdout.flush(), sys.stderr.flush()
    processes = [multiprocessing.get_context('fork').Process(target=target, args=a) for a in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]
