# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The configs on frozen trunks: every backbone with every set and head, weights that the host publishes, and one step
of each head that leaves the trunk as it was."""

from __future__ import annotations

import copy
from itertools import product
from pathlib import Path

import mmpretrain
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / 'configs/frozen'
VIT = dict(arch=dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96))
#: What makes each backbone small.
SMALL = {
    'dinov2-small': VIT,
    'dinov2-base': VIT,
    'clip-base': VIT,
    'eva02-small': dict(arch=dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96)),
    'mae-base': VIT,
    'sam-base': dict(
        arch=dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96, global_attn_indexes=[1]),
        img_size=64,
        out_channels=32,
    ),
    'convnextv2-tiny': dict(arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 48])),
    'swin-tiny': dict(arch=dict(embed_dims=24, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8])),
}
SETS = ('cub', 'ilsvrc', 'openimages30k', 'voc12')
HEADS = ('', '_efw', '_ent', '_tri')


def load(name: str) -> Config:
    return Config.fromfile(str(FOLDER / f'{name}.py'))


def test_every_backbone_with_every_set_and_head():
    assert {p.stem for p in FOLDER.glob('*.py')} == {f'{b}_{s}{h}' for b, s, h in product(SMALL, SETS, HEADS)}


def test_weights_are_those_that_the_host_publishes():
    """By path: the hosts' families differ in the machine that serves it."""
    metafiles = (Path(mmpretrain.__file__).parent / '.mim/configs').glob('*/metafile.yml')
    published = '\n'.join(path.read_text(encoding='utf-8') for path in metafiles)
    for backbone in SMALL:
        address = load(f'{backbone}_cub').model.backbone.init_cfg.checkpoint
        assert address.startswith('https://')
        assert address.split('/', 3)[3] + '\n' in published, address


def test_clip_and_eva_see_what_they_were_trained_on():
    published = Config.fromfile(
        str(Path(mmpretrain.__file__).parent / '.mim/configs/eva02/eva02-small-p14_headless.py')
    ).data_preprocessor
    for backbone, name in product(('clip-base', 'eva02-small'), SETS):
        ours = load(f'{backbone}_{name}').data_preprocessor
        assert ours.mean == pytest.approx(published.mean, abs=1e-5)
        assert ours.std == pytest.approx(published.std, abs=1e-5)
        assert ours.num_classes == load(f'mae-base_{name}').data_preprocessor.num_classes


@pytest.mark.parametrize('name', SETS)
def test_heads_differ_in_what_they_say(name):
    plain, efw, ent, tri = (load(f'dinov2-small_{name}{head}').model for head in HEADS)
    several = name == 'voc12'
    assert all(model.freeze_backbone for model in (plain, efw, ent, tri))
    assert plain.neck.type == 'GlobalAveragePooling'
    assert (efw.neck.type, efw.head) == ('mmentropy.EntropyPooling', plain.head)
    assert efw.neck.get('entropy', {}).get('score') == ('sigmoid' if several else None)
    assert (ent.neck, ent.reading, ent.head.auxiliary_gap) == (efw.neck, 'certain+spread', 0.5)
    assert ent.head.loss.type == 'mmentropy.EntropyRegularizedLoss'
    assert (tri.get('neck'), tri.head.type) == (None, 'mmentropy.TriRegionHead')
    assert {bool(model.head.get('multi_label')) for model in (plain, efw, ent, tri)} == {several}


@pytest.mark.parametrize(('backbone', 'head'), list(product(SMALL, HEADS)))
def test_a_step_leaves_the_trunk_bit_for_bit(backbone, head):
    # A third of the heads on the multi-label set, so that each kind of loss is met.
    name = SETS[(list(SMALL).index(backbone) + HEADS.index(head)) % 4]
    cfg = load(f'{backbone}_{name}{head}')
    settings = cfg.model.to_dict()
    settings['backbone'].update(copy.deepcopy(SMALL[backbone]), init_cfg=None)
    preprocessor = dict(cfg.data_preprocessor.to_dict(), num_classes=5)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(settings, data_preprocessor=preprocessor)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    hot = torch.eye(5)[:2]
    samples = [DataSample().set_gt_label(i).set_gt_score(hot[i]) for i in range(2)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    model.parse_losses(model(torch.randn(2, 3, 64, 96), samples, mode='loss'))[0].backward()
    optimizer.step()
    after = {
        key: value for key, value in model.state_dict().items() if '.rope.' not in key
    }  # a table of the image's size
    same = {key for key, value in after.items() if torch.equal(value, before[key])}
    assert same == {key for key in after if key.startswith('backbone.')}
    sample = model.eval().predict(torch.randn(1, 3, 64, 96), [DataSample().set_gt_label(0)])[0]
    assert torch.isfinite(sample.cams).all()
    assert sample.cams.shape[-2:] == sample.entropy_map.shape
