# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The data set of one of a config's splits."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, DefaultScope

SPLITS = ('train', 'val', 'test')


def dataloader_of(cfg: Config, split: str) -> ConfigDict:
    """``train_dataloader``, ``val_dataloader`` or ``test_dataloader`` of a config.

    Raises:
        ValueError: if the config has none, with the splits that it has. A run that does not validate on the way, as
            those of a comparison, leaves a config without ``val_dataloader``.
    """
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        there = [name for name in SPLITS if cfg.get(f'{name}_dataloader') is not None]
        raise ValueError(
            f'{cfg.filename or "the config"} has no {split}_dataloader; '
            + (f'its splits are {", ".join(there)}' if there else 'it has no data sets at all')
        )
    return loader


def build_dataset(cfg: Config, split: str, **settings: Any) -> Any:
    """The data set of a split, in the config's scope.

    Args:
        cfg: the config.
        split: ``train``, ``val`` or ``test``.
        **settings: in place of the data set's own, ``pipeline=[]`` for what is there before any transform.

    Raises:
        ValueError: if the config has no such split.
    """
    dataset = {**copy.deepcopy(dataloader_of(cfg, split).dataset), **settings}  # readers may take keys out
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmpretrain'):
        return DATASETS.build(dataset)
