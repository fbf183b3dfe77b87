# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A head on cached features is the head on the images."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope

from mmentropy.engine.feature_cache import FeatureCache
from mmentropy.engine.random_state import random_state
from mmentropy.experiments.feature_caching import Views, cache_config, cached_config, join_head

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def cfg() -> Config:
    cfg = Config.fromfile(str(ROOT / 'configs/demo/resnet18_partshapes_ent.py'))
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    cfg.model.freeze_backbone = True
    for split, length in (('train', 10), ('val', 6), ('test', 6)):
        cfg[f'{split}_dataloader'].dataset.length = length
    return cfg


@pytest.fixture(scope='module')
def made(cfg, tmp_path_factory):
    """(folder, config, said) of one caching, and the trunk's weights lie beside it."""
    out, said = tmp_path_factory.mktemp('features'), []
    torch.manual_seed(0)
    weights = out / 'trunk.pth'
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        backbone = MODELS.build(cfg.model.backbone.to_dict())
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
    torch.save({'state_dict': backbone.state_dict()}, weights)
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(weights))
    path = cache_config(cfg, out, views=2, tell=said.append)
    return out, path, said


def build(cfg: Config) -> torch.nn.Module:
    torch.manual_seed(1)
    settings = dict(cfg.model.to_dict(), data_preprocessor=cfg.data_preprocessor.to_dict())
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(copy.deepcopy(settings))
    model.init_weights()
    return model


def set_head(model: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        model.head.fc.weight.copy_(torch.randn(model.head.fc.weight.shape, generator=torch.Generator().manual_seed(3)))
    return model


def build_data(cfg: Config, split: str):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(copy.deepcopy(cfg[f'{split}_dataloader'].dataset.to_dict()))


def test_the_size_is_told_first_and_equal_splits_share(made):
    out, path, said = made
    assert said[0] == f'train: 10 images, 2 view(s), 64×8×8 in float16: 164 kB in {out / "train"}'
    assert any(line.startswith('test: the same images as val') for line in said)
    assert path.name == 'resnet18_partshapes_ent_cached.py'
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ['train', 'val']


def test_predictions_are_those_without_the_cache(cfg, made):
    _, path, _ = made
    cached = Config.fromfile(str(path))
    plain, ours = set_head(build(cfg).eval()), set_head(build(cached).eval())
    images, features = build_data(cfg, 'val'), build_data(cached, 'val')
    assert len(images) == len(features)
    with torch.no_grad():
        a = plain.test_step(pseudo_collate([images[i] for i in range(6)]))
        b = ours.test_step(pseudo_collate([features[i] for i in range(6)]))
    for one, other in zip(a, b):
        assert torch.equal(one.gt_label, other.gt_label)
        assert torch.equal(one.gt_bboxes, other.gt_bboxes)
        assert torch.equal(one.gt_mask, other.gt_mask)
        assert (one.map_grid, one.ori_shape, one.sample_id) == (other.map_grid, other.ori_shape, other.sample_id)
        torch.testing.assert_close(one.pred_score, other.pred_score, rtol=0, atol=1e-3)
        scale = one.cams.abs().max()
        torch.testing.assert_close(one.cams / scale, other.cams / scale, rtol=0, atol=1e-3)
        torch.testing.assert_close(one.entropy_map, other.entropy_map, rtol=0, atol=1e-3)


def test_a_step_is_that_without_the_cache(cfg, made):
    """On the same view of each image."""
    _, path, _ = made
    cached = Config.fromfile(str(path))
    views, cache = Views(build_data(cfg, 'train'), 2, seed=0), build_data(cached, 'train').cache
    plain, ours = set_head(build(cfg)).train(), set_head(build(cached)).train()
    drawn = [views[2 * i + i % 2] for i in range(10)]
    labels = [one['data_samples'] for one in drawn]
    features = torch.stack([torch.from_numpy(cache.features(i, i % 2)) for i in range(10)])
    inputs = plain.data_preprocessor({'inputs': [one['inputs'] for one in drawn], 'data_samples': labels})['inputs']
    for model, batch in ((plain, inputs), (ours, features)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4)
        model.parse_losses(model(batch, copy.deepcopy(labels), mode='loss'))[0].backward()
        optimizer.step()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-3, atol=1e-3)


def test_views_are_drawn_by_their_seed(cfg):
    dataset = build_data(cfg, 'train')
    state = random_state()['numpy']
    one, again, other = (Views(dataset, 3, seed)[4]['inputs'] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, Views(dataset, 3, 0)[5]['inputs'])
    assert random_state()['numpy'] == state


def test_goes_on_and_other_heads_find_the_features(cfg, made, monkeypatch):
    out, _, _ = made
    files = {path: path.stat().st_mtime_ns for path in out.rglob('*.npy')}
    other = copy.deepcopy(cfg)
    other.model.neck = dict(type='GlobalAveragePooling')
    said = []
    cache_config(other, out, views=2, tell=said.append)
    assert 'train: 1 of 1 shards are there already' in said
    assert files == {path: path.stat().st_mtime_ns for path in out.rglob('*.npy')}


def test_another_trunk_is_refused(cfg, made, tmp_path):
    out, _, _ = made
    other = copy.deepcopy(cfg)
    weights = torch.load(cfg.model.backbone.init_cfg.checkpoint)
    weights['state_dict']['conv1.weight'][0, 0, 0, 0] += 1e-3
    torch.save(weights, tmp_path / 'other.pth')
    other.model.backbone.init_cfg.checkpoint = str(tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'features of another trunk .* nothing was overwritten'):
        cache_config(other, out, views=2, tell=lambda text: None)
    moved = copy.deepcopy(cfg)
    moved.data_preprocessor.mean = [0, 0, 0]
    with pytest.raises(ValueError, match='features of other preprocessing'):
        cache_config(moved, out, views=2, tell=lambda text: None)
    free = copy.deepcopy(cfg)
    free.model.freeze_backbone = False
    with pytest.raises(ValueError, match='the backbone of its model is trained'):
        cache_config(free, out, tell=lambda text: None)
    mixing = copy.deepcopy(cfg)
    mixing.model.train_cfg = dict(augments=dict(type='Mixup', alpha=0.2))
    with pytest.raises(ValueError, match='it mixes the images of a batch'):
        cache_config(mixing, out, tell=lambda text: None)


def test_splits_without_features_are_taken_out(cfg, made):
    out, _, _ = made
    cached = cached_config(cfg, {'train': FeatureCache(out / 'train')})
    assert cached.val_dataloader is None
    assert cached.val_cfg is None
    assert cached.val_evaluator is None
    assert cached.model.backbone.type == 'mmentropy.CachedTrunk'


def test_trunk_and_head_are_joined(cfg, made, tmp_path):
    _, path, _ = made
    cached = Config.fromfile(str(path))
    head = set_head(build(cached))
    torch.save({'meta': {'cfg': cached.pretty_text}, 'state_dict': head.state_dict()}, tmp_path / 'head.pth')
    join_head(cfg, tmp_path / 'head.pth', tmp_path / 'whole.pth')
    whole = torch.load(tmp_path / 'whole.pth', weights_only=True)['state_dict']
    trunk = torch.load(cfg.model.backbone.init_cfg.checkpoint)['state_dict']
    assert all(torch.equal(whole[f'backbone.{key}'], value) for key, value in trunk.items())
    assert torch.equal(whole['head.fc.weight'], head.head.fc.weight)
    torch.save({'meta': {'cfg': ''}, 'state_dict': head.state_dict()}, tmp_path / 'head.pth')
    with pytest.raises(ValueError, match='was not trained on features of the trunk'):
        join_head(cfg, tmp_path / 'head.pth', tmp_path / 'whole.pth')
    with pytest.raises(FileNotFoundError, match='no such checkpoint'):
        join_head(cfg, tmp_path / 'none.pth', tmp_path / 'whole.pth')
