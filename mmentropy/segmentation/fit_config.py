# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A training's config on a pipeline's data: which images, which masks, how many classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmentropy.datasets.sources import ImageSource, VOCFolder
from mmentropy.ops.seeding.confusion import ignore_value

#: Transforms of mmseg that count pixels of each class, and have to know which are left out.
COUNTING = ('RandomCrop', 'GenerateEdge')


def fit_classifier(cfg: Config, data: ImageSource) -> None:
    """Let a classifier's config train on the images of a source; its pipeline, schedule and network stay.

    On VOC's layout only the folder changes: the config says how many classes there are.
    """
    root = str(Path(data.root).resolve())
    if isinstance(data, VOCFolder):
        set_data_root(cfg._cfg_dict, root)
        return
    pipeline = _dataset(cfg).pipeline
    source = data.settings(root=root)
    _replace_dataset(cfg, dict(type='mmentropy.SourceImages', source=source, pipeline=pipeline, test_mode=False))
    for group in _groups(cfg):
        if 'num_classes' in group:
            group['num_classes'] = data.num_classes


def fit_segmenter(cfg: Config, data: ImageSource, masks: Path) -> None:
    """Let a segmenter's config train on the images of a source and a folder of masks of them.

    Args:
        cfg: changed in place.
        data: the source; but on VOC's layout the heads get its number of classes, background included. Where these
            need sixteen bits, the masks are read by ``mmentropy.LoadLabelMap``, and 65535 is what is left out.
        masks: folder with an ``ids.txt``.
    """
    root = str(Path(data.root).resolve())
    if isinstance(data, VOCFolder):
        set_data_root(cfg._cfg_dict, root)
        dataset = cfg.train_dataloader.dataset
        dataset.data_prefix = dict(img_path='JPEGImages', seg_map_path=str(masks))
        dataset.ann_file = str(masks / 'ids.txt')
        return
    pipeline, classes = _dataset(cfg).pipeline, data.num_classes + 1
    source = data.settings(root=root)
    _replace_dataset(cfg, dict(type='mmentropy.SourceMasks', source=source, masks=str(masks), pipeline=pipeline))
    for group in _groups(cfg):
        if 'num_classes' in group:
            group['num_classes'] = classes
    if ignore_value(classes) != 255:
        _widen(cfg, classes)


def _widen(cfg: Config, classes: int) -> None:
    """Masks of sixteen bits."""
    ignore = ignore_value(classes)
    for group in _groups(cfg):
        if 'num_classes' in group or str(group.get('type')).endswith('AffinityNet'):
            group['ignore_index'] = ignore
        if 'seg_pad_val' in group:
            group['seg_pad_val'] = ignore
    pipeline = _dataset(cfg).pipeline
    for number, transform in enumerate(pipeline):
        kind = str(transform['type']).rpartition('.')[2]
        if kind == 'LoadAnnotations':
            pipeline[number] = dict(type='mmentropy.LoadLabelMap', num_classes=classes)
        elif kind in COUNTING:
            transform['ignore_index'] = ignore


def _dataset(cfg: Config) -> Any:
    """The training's data set, inside of what repeats it."""
    dataset = cfg.train_dataloader.dataset
    while 'pipeline' not in dataset and isinstance(dataset.get('dataset'), dict):
        dataset = dataset.dataset
    return dataset


def _replace_dataset(cfg: Config, dataset: dict) -> None:
    before = _dataset(cfg)
    for name in list(before):
        del before[name]
    before.update(dataset)


def _groups(cfg: Config) -> Iterator[dict]:
    """Every group of settings of the model and of the preprocessor."""
    waiting = [cfg.get('model'), cfg.get('data_preprocessor')]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one


def set_data_root(cfg: Any, root: str) -> None:
    """Every ``data_root`` of the config."""
    for value in cfg.values() if isinstance(cfg, dict) else cfg if isinstance(cfg, list) else ():
        if isinstance(value, dict | list):
            set_data_root(value, root)
    if isinstance(cfg, dict) and 'data_root' in cfg:
        cfg['data_root'] = root
