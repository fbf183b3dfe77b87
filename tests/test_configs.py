# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Every config loads, builds and runs one forward pass."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)


def without_downloads(model: dict) -> dict:
    """Pretrained weights live on the network: the forward pass does without them."""
    for value in list(model.values()):
        if isinstance(value, dict):
            without_downloads(value)
    init = model.get('init_cfg')
    if isinstance(init, dict) and init.get('type') == 'Pretrained':
        model['init_cfg'] = None
    if isinstance(model.get('pretrained'), str):
        model['pretrained'] = None
    return model


def test_basenames_are_unique():
    """A run's default folder is named after its config. The demo and the pipeline share two names on purpose."""
    names = Counter(path.name for path in CONFIGS)
    repeated = {name for name, count in names.items() if count > 1}
    assert repeated == {'resnet18_partshapes.py', 'resnet18_partshapes_ent.py'}
    assert all((ROOT / folder / name).is_file() for folder in ('configs/demo', 'configs/voc') for name in repeated)


@pytest.mark.parametrize('path', CONFIGS, ids=[str(path.relative_to(ROOT / 'configs')) for path in CONFIGS])
def test_config_builds_and_runs(path):
    cfg = Config.fromfile(str(path))
    if 'model' not in cfg:
        pytest.skip(f'{path.name} has no model of its own: it is a pipeline config, tested with the pipeline')
    init_default_scope(cfg.default_scope)
    model_cfg = without_downloads(cfg.model)
    if cfg.get('data_preprocessor'):
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(model_cfg).eval()
    size = 64 if 'small' in str(cfg.get('image_size', '')) or cfg.get('image_size', 224) == 64 else 96
    with torch.no_grad():
        out = model(torch.zeros(1, 3, size, size), mode='tensor')
    out = out[-1] if isinstance(out, tuple | list) else out
    assert torch.isfinite(out).all()
    num_classes = cfg.get('data_preprocessor', {}).get('num_classes')
    if cfg.default_scope == 'mmpretrain' and num_classes:
        assert out.shape == (1, num_classes)
