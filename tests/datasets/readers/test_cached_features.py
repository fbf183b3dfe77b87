# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import numpy as np
import pytest
import torch

from mmentropy.datasets import CachedFeatures
from mmentropy.engine.feature_cache import CacheIdentity, FeatureCache


@pytest.fixture
def folder(tmp_path):
    identity = CacheIdentity('trunk', 'steps', 'set', samples=3, views=4, seed=0, shape=(1, 1, 1), shard=2)
    cache = FeatureCache.create(tmp_path, identity, ['cat', 'dog'])
    for shard in cache.missing():
        members = identity.members(shard)
        values = np.array([[10 * i + v for v in range(4)] for i in members], np.float32)
        fields = [
            [
                dict(gt_label=np.array([i % 2]), sample_id=i, ori_shape=(5, v), gt_bboxes=np.ones((1, 4)))
                for v in range(4)
            ]
            for i in members
        ]
        cache.write(shard, values.reshape(-1, 4, 1, 1, 1), fields)
    return tmp_path


def test_samples(folder):
    dataset = CachedFeatures(str(folder), trunk='trunk', preprocessing='steps')
    assert (len(dataset), dataset.metainfo['classes'], dataset.get_cat_ids(1)) == (3, ('cat', 'dog'), [1])
    np.random.seed(0)  # noqa: NPY002  the one that the hosts seed
    seen = set()
    for _ in range(40):
        sample = dataset[2]
        view = int(sample['inputs'].item()) - 20
        assert sample['data_samples'].ori_shape == (5, view)
        seen.add(view)
    assert seen == {0, 1, 2, 3}
    one = dataset[-1]['data_samples']
    assert (one.sample_id, one.gt_label.tolist(), one.gt_bboxes.shape) == (2, [0], torch.Size([1, 4]))
    with pytest.raises(IndexError):
        dataset[3]


def test_of_another_trunk(folder):
    with pytest.raises(ValueError, match='features of another trunk'):
        CachedFeatures(str(folder), trunk='other')
    with pytest.raises(ValueError, match='features of other preprocessing'):
        CachedFeatures(str(folder), preprocessing='other')
    (folder / '00001.json').unlink()
    with pytest.raises(ValueError, match='1 of 2 shards are missing'):
        CachedFeatures(str(folder))
