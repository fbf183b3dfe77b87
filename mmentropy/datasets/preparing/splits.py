# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""All splits of a set, by its name or from a config, for the tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmentropy.datasets import (
    Camelyon16Patches,
    CUBLocalization,
    GlaS,
    ImageNetLocalization,
    LocalizationDataset,
    OpenImages30k,
    OxfordFlowers102,
    TinyImageNetLocalization,
    VOC2012MultiLabel,
)
from mmentropy.registry import DATASETS

READERS: dict[str, type[LocalizationDataset]] = {
    reader.NAME: reader
    for reader in (
        Camelyon16Patches,
        CUBLocalization,
        GlaS,
        ImageNetLocalization,
        OpenImages30k,
        OxfordFlowers102,
        TinyImageNetLocalization,
        VOC2012MultiLabel,
    )
}

Splits = dict[str, LocalizationDataset | Exception]
#: What a reader raises for a fault in the data.
FAULTS = (FileNotFoundError, ValueError, KeyError)


def build_splits(name: str, root: str, splits: Sequence[str] | None = None) -> Splits:
    """split → data set, or the error that tells what is wrong with it.

    Raises:
        KeyError: for an unknown name.
    """
    if name not in READERS:
        raise KeyError(f'{name!r} is not one of the sets {sorted(READERS)}; a config file ends in .py')
    return {split: _build(READERS[name], data_root=root, split=split) for split in splits or READERS[name].SPLITS}


def build_config_splits(cfg: Any) -> Splits:
    """The data sets of a config's dataloaders, those of this package only, each split once.

    Raises:
        ValueError: if there is none that can be checked.
    """
    splits: Splits = {}
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        data = (cfg.get(key) or {}).get('dataset')
        while data is not None and 'dataset' in data:  # wrappers, such as mosaics
            data = data['dataset']
        if data is None or not str(data.get('type', '')).startswith('mmentropy.'):
            continue
        options = {k: v for k, v in data.items() if k not in ('type', 'pipeline', 'classes', 'indices', 'on_bad_image')}
        reader = DATASETS.get(data['type'])
        if isinstance(reader, type) and issubclass(reader, LocalizationDataset):
            splits.setdefault(options.get('split', 'train'), _build(reader, **options))
    if not splits:
        raise ValueError('the config has no data set of this package that is read from files')
    return splits


def _build(reader: type[LocalizationDataset], **options: Any) -> LocalizationDataset | Exception:
    try:
        return reader(**options)
    except FAULTS as error:
        return error
