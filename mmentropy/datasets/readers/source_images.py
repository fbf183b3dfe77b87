# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A pipeline's images as a multi-label set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.sources import build_source
from mmentropy.registry import DATASETS


@DATASETS.register_module()
class SourceImages(LocalizationDataset):
    """The images of a source, each with its labels; masks stay with the pipeline.

    Args:
        source: settings of one of :mod:`mmentropy.datasets.sources`, with ``type`` and ``root``; its ``split`` is the
            list. ``data_root`` stands for its ``root`` where that is given.
        data_root: see ``source``.
        **kwargs: of :class:`LocalizationDataset`.

    >>> from mmentropy.safe_files import write_whole
    >>> write_whole('own/labels.csv', 'image,label,split\\n1.jpg,cat;dog,train\\n2.jpg,cat,val\\n')
    >>> info = SourceImages(dict(type='LabelledImages', root='own')).get_data_info(0)
    >>> info['img_path'], info['gt_label']
    ('own/1.jpg', [0, 1])
    """

    NAME = 'source'
    MULTI_LABEL = True

    def __init__(self, source: dict, data_root: str = '', **kwargs: Any) -> None:
        settings = {**source, 'root': data_root or source.get('root', '')}
        self.source = build_source(settings)
        self.SPLITS = (self.source.split,)
        super().__init__(settings['root'], self.source.split, **kwargs)

    TRAIN_SPLITS = ('train', 'training', 'all')

    @property
    def hint(self) -> str:
        """What to do when a file is missing."""
        return 'docs/segmentation.md tells how your own data is laid out'

    def index_files(self) -> list[str]:
        """None that is read alone: the source knows its files."""
        return [self.data_root]

    def class_names(self) -> Sequence[str]:
        """Names in the order of the labels."""
        return self.source.classes

    def parse_index(self) -> Iterator[dict]:
        """One entry an image; raises as the source's ``labels``."""
        for key in self.source.ids():
            yield dict(img_path=str(self.source.image_path(key)), gt_label=self.source.labels(key).tolist())
