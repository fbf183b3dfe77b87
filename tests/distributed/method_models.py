# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Every method as a tiny model with batches, for the worker processes."""

from __future__ import annotations

import copy
from pathlib import Path

import minmax_models
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from test_methods_train import build as build_classifier
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
CLASSIFIERS = ('efw', 'ent', 'adl', 'rdap', 'acol', 'spg')
METHODS = (*CLASSIFIERS, 'minmax', 'dsrg', 'affinity')


def build(method: str) -> tuple[nn.Module, list[dict]]:
    """A model and two batches of eight (mmseg's: two of four)."""
    if method in CLASSIFIERS:
        return build_classifier(method)
    if method == 'minmax':
        model = minmax_models.build(erasing=dict(steps=2, start_epoch=0))
        batches = [
            dict(inputs=minmax_models.images(8, seed=seed), data_samples=minmax_models.samples([0, 1, 2, 3] * 2))
            for seed in (0, 1)
        ]
        return model, batches
    return segmenter(dict(dsrg='dsrg_r18_partshapes', affinity='affinity_r18_partshapes')[method])


def segmenter(config: str) -> tuple[nn.Module, list[dict]]:
    from mmseg.structures import SegDataSample

    cfg = Config.fromfile(str(ROOT / f'configs/voc/{config}.py'))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    rng, batches = np.random.default_rng(0), []
    for _ in range(2):
        samples, images = [], []
        for _ in range(4):
            labels = np.full((96, 96), 255, np.uint8)
            labels[:40], labels[60:, :50], labels[60:, 60:] = 0, 2, 3
            sample = SegDataSample(metainfo=dict(img_shape=(96, 96), ori_shape=(96, 96)))
            sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
            samples.append(sample)
            images.append(torch.from_numpy(rng.integers(0, 256, (3, 96, 96), dtype=np.uint8)))
        batches.append(dict(inputs=images, data_samples=samples))
    return model, batches


def step(model: nn.Module, batch: dict, optimizer) -> dict[str, torch.Tensor]:
    return model.train_step(copy.deepcopy(batch), optimizer)


def freeze_statistics(model: nn.Module) -> None:
    """Batch norms in evaluation mode: a sample's result then does not depend on the others in its batch."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])
