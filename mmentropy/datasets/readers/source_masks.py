# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A pipeline's images with masks that a stage has written, for mmsegmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset

from mmentropy.datasets.readers.parsing import read_rows
from mmentropy.datasets.sources import build_source
from mmentropy.ops.masks import voc_palette
from mmentropy.registry import DATASETS


@DATASETS.register_module()
class SourceMasks(BaseDataset):
    """Images of a source and a folder of ``<id>.png``; samples as mmsegmentation's ``BaseSegDataset`` gives them.

    Args:
        source: settings of one of :mod:`mmentropy.datasets.sources`, with ``type`` and ``root``. ``data_root`` stands
            for its ``root`` where that is given.
        masks: the folder, with an ``ids.txt`` that lists its images; None reads the true masks of the source, which
            must be files.
        data_root: see ``source``.
        **kwargs: of mmengine's ``BaseDataset``.

    >>> from mmentropy.safe_files import write_whole
    >>> write_whole('own/labels.csv', 'image,label,split\\nold/1.jpg,cat,train\\n')
    >>> write_whole('masks/ids.txt', 'old__1\\n')
    >>> info = SourceMasks(dict(type='LabelledImages', root='own'), 'masks').get_data_info(0)
    >>> info['img_path'], info['seg_map_path']
    ('own/old/1.jpg', 'masks/old__1.png')
    """

    def __init__(self, source: dict, masks: str | None = None, data_root: str = '', **kwargs: Any) -> None:
        self.source = build_source({**source, 'root': data_root or source.get('root', '')})
        self.masks = masks
        names = ('background', *self.source.classes)
        metainfo = {
            'classes': names,
            'palette': voc_palette(len(names)).tolist(),
            **(kwargs.pop('metainfo', None) or {}),
        }
        super().__init__(metainfo=metainfo, data_root=self.source.root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One entry an image."""
        if self.masks is None:
            pairs = [(key, self.source.truth_from(key)) for key in self.source.ids()]
        else:
            listed = read_rows(str(Path(self.masks, 'ids.txt')), 1, None, 'one image id', 'run the stage before')
            pairs = [(key, Path(self.masks, f'{key}.png')) for _, (key,) in listed]
        for key, path in pairs:
            if not isinstance(path, Path):
                raise ValueError(f'{self.source.root}: the true mask of {key} is no file; name a folder of masks')
        common = {'label_map': None, 'reduce_zero_label': False}
        return [
            {'img_path': str(self.source.image_path(key)), 'seg_map_path': str(path), **common, 'seg_fields': []}
            for key, path in pairs
        ]
