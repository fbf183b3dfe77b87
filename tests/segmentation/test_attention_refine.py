# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mmentropy.explain.patch_affinity import patch_affinity
from mmentropy.segmentation import AttentionRefine, Context, ImageMaps

CONFIG = """
default_scope = 'mmpretrain'
data_preprocessor = dict(mean=[120, 110, 100], std=[60] * 3, to_rgb=True, num_classes=5)
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=12, num_layers=2, num_heads=3, feedforward_channels=24),
        img_size=32,
        patch_size=8,
        out_type='featmap',
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead'),
    freeze_backbone=True,
)
"""


@pytest.fixture
def world(voc, tmp_path):
    """(context, key, stage) with random scores as its source."""
    (tmp_path / 'vit.py').write_text(CONFIG)
    key = voc.ids()[0]
    ctx = Context(tmp_path / 'work', voc, quiet=True, device='cpu')
    for name in ('seed', 'attention'):
        ctx.folder(name).mkdir(parents=True)
    scores = np.random.default_rng(0).random((3, 64, 64)).astype(np.float32)
    ImageMaps(np.array([1, 4]), scores, (64, 64), None, True).save(ctx.folder('seed') / f'{key}.npz')
    torch.manual_seed(0)
    return ctx, key, AttentionRefine(source='seed', config=str(tmp_path / 'vit.py'), side=48, steps=2, share=0.75)


def test_scores_walk_along_the_attention(world):
    ctx, key, stage = world
    stage.process(ctx, key)
    found = ImageMaps.load(stage.output(ctx, key))
    model = stage.model(ctx)
    image = cv2.resize(ctx.data.image(key), (48, 48), interpolation=cv2.INTER_AREA).astype(np.float32)
    inputs = torch.from_numpy((image - [120, 110, 100]) / 60).permute(2, 0, 1)[None].float()
    affinity = patch_affinity(model.backbone, inputs, (6, 6))[0].numpy()
    affinity = affinity / affinity.sum(1, keepdims=True)
    before = ImageMaps.load(ctx.folder('seed') / f'{key}.npz').probabilities()
    small = np.stack([cv2.resize(one, (6, 6), interpolation=cv2.INTER_LINEAR) for one in before])
    small = small / small.sum(0)
    walked = (affinity @ affinity @ small.reshape(3, 36).T).T.reshape(3, 6, 6)
    np.testing.assert_allclose(found.maps, 0.75 * walked + 0.25 * small, atol=2e-3)
    np.testing.assert_allclose(found.maps.sum(0), 1, atol=2e-3)


def test_a_changed_config_is_noticed(world, tmp_path):
    ctx, _, stage = world
    before = stage.fingerprint(ctx)
    (tmp_path / 'vit.py').write_text(CONFIG.replace('num_layers=2', 'num_layers=3'))
    assert stage.fingerprint(ctx) != before
    # Also in a base of it, and in the weights that it names.
    (tmp_path / 'top.py').write_text("_base_ = './vit.py'\n")
    top = AttentionRefine(source='seed', config=str(tmp_path / 'top.py'))
    before = top.fingerprint(ctx)
    (tmp_path / 'w.pth').write_bytes(b'a')
    init = f"model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='{tmp_path}/w.pth')\n"
    (tmp_path / 'vit.py').write_text(CONFIG + init)
    assert top.fingerprint(ctx) != before
    found = top.depends(ctx)
    (tmp_path / 'w.pth').write_bytes(b'b')
    assert [name for name, value in top.depends(ctx).items() if found[name] != value] == [f'{tmp_path}/w.pth']
    with pytest.raises(ValueError, match='share lies in'):
        AttentionRefine(share=2)
