# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Segmentors of the demo, their samples and scenes."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData

from mmentropy.registry import MODELS

pytest.importorskip('mmseg', reason='mmsegmentation is not installed')
from mmseg.structures import SegDataSample


def build(repo_root, name, **options):
    torch.manual_seed(0)
    cfg = Config.fromfile(str(repo_root / f'configs/voc/{name}.py'))
    init_default_scope('mmseg')
    model = copy.deepcopy(cfg.model)
    model.update(options)
    return MODELS.build(model)


def samples(masks):
    return [SegDataSample(gt_sem_seg=PixelData(data=mask[None]), metainfo={'img_shape': mask.shape}) for mask in masks]
