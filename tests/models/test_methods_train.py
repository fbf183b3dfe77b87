# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Every method's config trains for real on PartShapes, and its neutral option is plain CAM."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.registry import DATASETS
from torch import nn

ROOT = Path(__file__).resolve().parents[2] / 'configs/wsol'
PLAIN = 'resnet18_tinyimagenet'
METHODS = sorted(
    path.stem.removeprefix(f'{PLAIN}_') for path in ROOT.glob(f'{PLAIN}_*.py') if 'mosaic' not in path.stem
)
EXPECTED = set(
    'efw er ent has cutmix adl rdap acol spg ls cp jeffreys gmp lse wildcat pcam gem'.split()  # noqa: SIM905
)
#: What tells a method's training pass from its evaluation pass, batch statistics apart.
ERASES_FEATURES = {'adl', 'rdap'}
ADDS_PARAMETERS = {'acol': 'erasing.', 'spg': 'erasing.', 'gem': 'neck.'}
#: Options under which a method is plain CAM: bit for bit, or (the host's own code paths) up to rounding.
NEUTRAL = {
    'er': {'head.loss.lambda_': 0.0},
    'cp': {'head.loss.lambda_': 0.0},
    'jeffreys': {'head.loss.lambda_': 0.0},
    'efw': {'neck.mix': 1.0, 'neck.detach': True},
    'ent': {'neck.mix': 1.0, 'neck.detach': True, 'head.loss.lambda_': 0.0},
    'adl': {'erasing.0.prob': 0.0},
    'rdap': {'erasing.0.drop_rate': 0.0},
    'acol': {'erasing.0.weight': 0.0},
    'spg': {'erasing.0.weight': 0.0},
    'has': {},  # with prob=0 in the pipeline
    'gmp': {'neck.mix': 1.0},
    'lse': {'neck.r': 0.0},
    'wildcat': {'neck.kmax': 1.0, 'neck.alpha': 0.0},
    'pcam': {'neck.mix': 1.0},
}
NEARLY = {
    'ls': {'head.loss.label_smooth_val': 0.0},
    'cutmix': {'train_cfg.probs': 0.0},
    'gem': {'neck.p': 1.0, 'neck.p_trainable': False},
}


def build(method: str, options: dict | None = None, **hide) -> tuple[nn.Module, list]:
    """The config's model on PartShapes (ten classes, narrow), and two batches through its training pipeline."""
    cfg = Config.fromfile(str(ROOT / (f'{PLAIN}_{method}.py' if method else f'{PLAIN}.py')))
    init_default_scope('mmpretrain')
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    cfg.data_preprocessor.num_classes = 10
    cfg.model.data_preprocessor = cfg.data_preprocessor
    cfg.merge_from_dict({f'model.{key}': value for key, value in (options or {}).items()})
    pipeline = [step for step in cfg.train_dataloader.dataset.pipeline if step.type != 'LoadImageFromFile']
    for step in pipeline:
        if step.type.endswith('HideAndSeek'):
            step.update(hide)
    data = DATASETS.build(dict(type='mmentropy.PartShapes', length=16, pipeline=pipeline))
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    model = MODELS.build(cfg.model)
    model.init_weights()
    # A larger start for the classifier: three small steps are then visible in every parameter's last digits.
    nn.init.normal_(model.head.fc.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    batches = [pseudo_collate([data[i] for i in range(start, start + 8)]) for start in (0, 8)]
    return model, batches


def train(model: nn.Module, batches: list) -> list[float]:
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    model.train()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    return [model.train_step(copy.deepcopy(batch), optimizer)['loss'].item() for batch in (*batches, *batches)]


def test_there_is_a_config_for_every_method():
    assert set(METHODS) >= EXPECTED
    assert {path.stem.removeprefix('resnet50_cub_') for path in ROOT.glob('resnet50_cub_*.py')} >= EXPECTED


@pytest.mark.parametrize('method', METHODS)
def test_method_trains_and_differs_where_it_should(method):
    model, batches = build(method)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    losses = train(model, batches)
    assert np.isfinite(losses).all()
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert still == []

    plain, _ = build('')
    extra = [name for name in model.state_dict() if name not in plain.state_dict()]
    assert all(name.startswith(ADDS_PARAMETERS.get(method, 'nothing')) for name in extra)
    assert bool(extra) == (method in ADDS_PARAMETERS)

    # Training and evaluation passes of the backbone, batch statistics held: only feature erasers tell them apart.
    model.eval()
    inputs = model.data_preprocessor(copy.deepcopy(batches[0]), training=False)
    with torch.no_grad():
        evaluated = model.backbone(inputs['inputs'])[-1]
        again = model.predict(**copy.deepcopy(inputs))
        assert all(torch.equal(a.cams, b.cams) for a, b in zip(again, model.predict(**copy.deepcopy(inputs))))
        model.train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        torch.manual_seed(0)
        trained = model.backbone(inputs['inputs'])[-1]
    assert torch.equal(trained, evaluated) == (method not in ERASES_FEATURES)
    assert all(torch.isfinite(sample.cams).all() and torch.isfinite(sample.pred_score).all() for sample in again)


@pytest.mark.parametrize('method', sorted(NEUTRAL))
def test_neutral_option_is_plain_cam_bit_for_bit(method):
    plain, batches = build('')
    neutral, own = build(method, NEUTRAL[method], prob=0.0)
    assert all(torch.equal(a, b) for x, y in zip(batches, own) for a, b in zip(x['inputs'], y['inputs']))
    assert train(neutral, own) == train(plain, batches)
    found = neutral.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize('method', sorted(NEARLY))
def test_the_hosts_neutral_options_are_plain_cam_up_to_rounding(method):
    plain, batches = build('')
    neutral, own = build(method, NEARLY[method])
    np.testing.assert_allclose(train(neutral, own), train(plain, batches), rtol=2e-3)


def test_every_method_has_a_neutral_option():
    assert set(NEUTRAL) | set(NEARLY) >= EXPECTED
