# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""``CachedFeatures``: the features that a frozen trunk gave, in place of the images."""

from __future__ import annotations

from mmentropy import _needs_hosts  # noqa: F401  quiets mmpretrain before it is imported

# isort: split
from typing import Any

import numpy as np
import torch
from mmpretrain.structures import DataSample

from mmentropy.engine.feature_cache import FeatureCache
from mmentropy.registry import DATASETS

#: Fields that describe a sample rather than being its data.
META = ('img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', 'sample_id', 'sample_idx')


@DATASETS.register_module()
class CachedFeatures(torch.utils.data.Dataset):
    """A split whose samples hold features (D, h, w) as ``inputs``, and what the images' own samples held.

    Of several views of a sample (crops, flips) numpy's generator picks one each time, as the pipeline's transforms
    would have drawn a crop.

    Args:
        cache: folder of the split, written by ``tools/cache_features.py``.
        trunk: fingerprint that the cache must have; None takes any.
        preprocessing: likewise.

    Raises:
        FileNotFoundError: without a cache.
        ValueError: for an unfinished or damaged one, and for one of another trunk or other preprocessing.

    >>> from mmentropy.engine.feature_cache import CacheIdentity
    >>> identity = CacheIdentity('a', 'b', 'c', samples=1, views=1, seed=0, shape=(2, 1, 1))
    >>> labelled = [[dict(gt_label=np.array([3]), img_path='c.jpg')]]
    >>> FeatureCache.create('features', identity).write(0, np.ones((1, 1, 2, 1, 1)), labelled)
    >>> sample = CachedFeatures('features', trunk='a')[0]
    >>> sample['inputs'].shape, sample['data_samples'].gt_label
    (torch.Size([2, 1, 1]), tensor([3]))
    """

    def __init__(self, cache: str, trunk: str | None = None, preprocessing: str | None = None) -> None:
        self.cache = FeatureCache(cache)
        self.cache.check(trunk=trunk, preprocessing=preprocessing)
        self.cache.require_all()
        self.metainfo: dict[str, Any] = {} if self.cache.classes is None else {'classes': self.cache.classes}

    @property
    def CLASSES(self) -> tuple[str, ...] | None:
        """Names of the classes."""
        return self.cache.classes

    def full_init(self) -> None:
        """Nothing is left to read; the hosts ask for it."""

    def __len__(self) -> int:
        return self.cache.identity.samples

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label(s) of a sample."""
        return np.atleast_1d(self.cache.fields(idx)['gt_label']).tolist()

    def __getitem__(self, idx: int) -> dict[str, Any]:
        idx = range(len(self))[idx]
        views = self.cache.identity.views
        view = int(np.random.randint(views)) if views > 1 else 0  # noqa: NPY002  the one that the hosts seed
        fields = self.cache.fields(idx, view)
        meta = {key: fields.pop(key) for key in list(fields) if key in META or not isinstance(fields[key], np.ndarray)}
        meta = {key: tuple(value) if isinstance(value, list) else value for key, value in meta.items()}
        sample = DataSample(metainfo=meta)
        for key, value in fields.items():
            sample.set_field(torch.from_numpy(value), key)
        return dict(inputs=torch.from_numpy(self.cache.features(idx, view)), data_samples=sample)
