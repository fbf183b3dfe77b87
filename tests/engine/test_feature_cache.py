# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import json
import pickle
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mmentropy.engine import feature_cache
from mmentropy.engine.feature_cache import CacheIdentity, FeatureCache, fingerprint, sample_fields

IDENTITY = CacheIdentity('trunk', 'steps', 'set', samples=5, views=2, seed=7, shape=(3, 2, 4), shard=2)


def whole(folder) -> tuple[FeatureCache, np.ndarray]:
    """A cache of random features, and these."""
    features = np.random.default_rng(0).normal(size=(5, 2, 3, 2, 4)).astype(np.float32)
    cache = FeatureCache.create(folder, IDENTITY, ['cat', 'dog'])
    for shard in cache.missing():
        members = IDENTITY.members(shard)
        fields = [
            [dict(img_path=f'{i}.jpg', gt_label=np.array([i]), ori_shape=(4, v)) for v in (0, 1)] for i in members
        ]
        cache.write(shard, features[members.start : members.stop], fields)
    return cache, features


def test_what_is_written_is_read(tmp_path):
    cache, features = whole(tmp_path)
    cache.require_all()
    for again in (FeatureCache(tmp_path), pickle.loads(pickle.dumps(cache))):
        assert again.classes == ('cat', 'dog')
        for sample in range(5):
            for view in (0, 1):
                np.testing.assert_array_equal(again.features(sample, view), features[sample, view].astype(np.float16))
                fields = again.fields(sample, view)
                assert (fields['img_path'], fields['ori_shape']) == (f'{sample}.jpg', [4, view])
                np.testing.assert_array_equal(fields['gt_label'], [sample])
                assert fields['gt_label'].dtype == np.int64
    assert IDENTITY.size_bytes == features.astype(np.float16).nbytes
    assert IDENTITY.shards == 3


def test_masks_go_to_arrays_and_text_stays_text(tmp_path):
    mask = np.random.default_rng(0).integers(0, 2, (40, 30), dtype=np.uint8)
    sample = DataSample(metainfo=dict(img_path='é.jpg', scale_factor=(0.5, np.float32(2)), other=object()))
    sample.set_gt_label(3).set_field(torch.from_numpy(mask), 'gt_mask')
    sample.set_field(torch.zeros(0, 4), 'gt_bboxes')
    cache = FeatureCache.create(tmp_path, replace(IDENTITY, samples=1, views=1))
    cache.write(0, np.zeros((1, 1, 3, 2, 4)), [[sample_fields(sample)]])
    found = FeatureCache(tmp_path).fields(0)
    np.testing.assert_array_equal(found['gt_mask'], mask)
    assert found['gt_bboxes'].shape == (0, 4)
    assert found['gt_bboxes'].dtype == np.float32
    assert (found['img_path'], found['scale_factor'], found['gt_label'].tolist()) == ('é.jpg', [0.5, 2.0], [3])
    assert 'other' not in found


def test_goes_on_where_it_was_stopped(tmp_path):
    cache, features = whole(tmp_path)
    cache._path(1, 'json').unlink()
    again = FeatureCache.create(tmp_path, IDENTITY, ['cat', 'dog'])
    assert again.missing() == [1]
    with pytest.raises(ValueError, match='1 of 3 shards are missing; start'):
        again.require_all()
    np.testing.assert_array_equal(again.features(4, 1), features[4, 1].astype(np.float16))


@pytest.mark.parametrize(
    ('key', 'value', 'told'),
    [
        ('trunk', 'b', 'of another trunk'),
        ('preprocessing', 'b', 'of other preprocessing'),
        ('dataset', 'b', 'of another data set'),
        ('seed', 8, 'of another seed of the views'),
        ('shape', (3, 2, 5), 'of another size of features'),
        ('dtype', 'float32', 'of another precision'),
    ],
)
def test_another_cache_is_not_overwritten(tmp_path, key, value, told):
    whole(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=f'{told} .*nothing was overwritten'):
        FeatureCache.create(tmp_path, replace(IDENTITY, **{key: value}))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_truncated_shard_is_named(tmp_path):
    cache, _ = whole(tmp_path)
    path = cache._path(1, 'npy')
    path.write_bytes(path.read_bytes()[:-10])
    for read in (lambda: FeatureCache(tmp_path).features(2), FeatureCache(tmp_path).require_all):
        with pytest.raises(
            ValueError, match=r'00001\.npy has .* bytes, and 2 samples take 192 and a header: it was cut'
        ):
            read()


def test_no_cache_and_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'holds no cached features; tools/cache_features\.py writes them'):
        FeatureCache(tmp_path)
    (tmp_path / 'manifest.json').write_text(json.dumps(dict(asdict(IDENTITY), version=0, classes=None, grid=None)))
    with pytest.raises(ValueError, match='is no manifest of this version'):
        FeatureCache(tmp_path)
    (tmp_path / 'manifest.json').write_text('{"trunk": ')
    with pytest.raises(ValueError, match=r'manifest\.json'):
        FeatureCache(tmp_path)


def test_what_half_precision_cannot_hold_is_refused(tmp_path):
    cache = FeatureCache.create(tmp_path, IDENTITY)
    with pytest.raises(ValueError, match=r'float16 cannot hold features up to 1e.05, .*use --precision float32'):
        cache.write(0, np.full((2, 2, 3, 2, 4), 1e5, np.float32), [[{}, {}]] * 2)
    assert cache.missing() == [0, 1, 2]


def test_a_full_disk_is_told_before(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache.shutil, 'disk_usage', lambda path: type('Usage', (), {'free': 100}))
    with pytest.raises(ValueError, match='the features take 480 bytes, and its disk has 100 bytes left'):
        FeatureCache.create(tmp_path / 'new', IDENTITY)
    assert not (tmp_path / 'new').exists()


def test_fingerprints_change_with_one_weight():
    torch.manual_seed(0)
    layer = torch.nn.BatchNorm2d(3)
    before = fingerprint({}, layer)
    assert before == fingerprint({}, layer)
    layer.running_mean[1] += 1e-7
    assert before != fingerprint({}, layer)
