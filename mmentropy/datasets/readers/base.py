# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The base of all readers: index file → list of plain dicts, labels, boxes, masks; errors, skipping and the cache."""

from __future__ import annotations

from mmentropy import _needs_hosts  # noqa: F401  quiets mmpretrain before it is imported

# isort: split
import hashlib
import io
import itertools
import logging
import os
import pickle
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset

from mmentropy.datasets.readers.parsing import check_box, join
from mmentropy.datasets.transforms.sample_loading import BadSampleError, is_loader, keep_ground_truth, load_sample
from mmentropy.ops.masks import IGNORE_LABEL
from mmentropy.safe_files import load_npz, written_whole

#: Indices of fewer entries are parsed anew each time: reading them is quicker than a user's doubt about a stale cache.
CACHE_FROM = 100_000


class LocalizationDataset(BaseDataset):
    """Images with labels and, where the set has them, boxes and masks.

    A subclass says where its files are and yields entries from :meth:`parse_index`; everything else is here. An entry
    is a dict of plain values (str, int, float, lists of them):

    ================== ==========================================================================================
    ``img_path``       path or address of the image, complete
    ``gt_label``       int; a list of ints for a multi-label set
    ``gt_bboxes``      optional, list of [x0, y0, x1, y1], pixels of the original image
    ``gt_bbox_labels`` optional, class of each box
    ``mask_paths``     optional, list of mask files; their union is the object
    ``ignore_path``    optional, file of the pixels left out of the evaluation
    ``size``           optional, [width, height] where the index tells it; the boxes are checked against it at once
    ``row``            optional, line of the index file, for messages
    ================== ==========================================================================================

    ``gt_bboxes`` reach the pipeline as (n, 4) float32. Masks are read by ``mmentropy.LoadLocalizationMasks``.

    Args:
        data_root: directory of the set, or its address behind any mmengine file backend.
        split: one of ``SPLITS``.
        classes: an int keeps the first n classes (for cheap experiments), a sequence (or a file) of names keeps these,
            in this order; None keeps all. Pixels of the others are background in palette masks.
        multi_label: give ``gt_label`` as a list; by default as the set is.
        on_bad_image: ``raise`` (default), or ``skip``: in training, count and log an image that cannot be read or whose
            boxes or masks do not fit it, and go on with another.
        backend_args: of ``mmengine.fileio``, for index files and masks (images: ``LoadImageFromFile`` has its own).
        index_cache: keep the parsed index of a large set (100 000 entries or more) in ``$MMENTROPY_CACHE`` or
            ``~/.cache/mmentropy``; it is made anew when an index file or an option changes.
        pipeline: transforms.
        metainfo: as in mmengine.
        test_mode: by default for every split that is not in ``TRAIN_SPLITS``.
        **kwargs: of mmpretrain's ``BaseDataset`` (``indices``, ``serialize_data``, ``lazy_init`` …).

    Raises:
        FileNotFoundError: if an index file is missing, with the path and how to prepare the set.
        ValueError: for a malformed row, naming file and line.

    >>> class OneImage(LocalizationDataset):
    ...     def index_files(self):
    ...         return ['cats.txt']
    ...     def class_names(self):
    ...         return ['cat']
    ...     def parse_index(self):
    ...         yield {'img_path': 'cat.jpg', 'gt_label': 0, 'gt_bboxes': [[0, 0, 4, 4]]}
    >>> info = OneImage().get_data_info(0)
    >>> info['gt_label'], info['gt_bboxes'].tolist()
    (0, [[0.0, 0.0, 4.0, 4.0]])
    """

    #: Name in ``docs/datasets.md`` and of ``tools/dataset_tools/prepare.py``.
    NAME = ''
    SPLITS: tuple[str, ...] = ('train', 'val', 'test')
    TRAIN_SPLITS: tuple[str, ...] = ('train',)
    MULTI_LABEL = False
    #: Documented number of images of each split, for ``tools/dataset_tools/check.py``.
    COUNTS: dict[str, int] = {}
    #: How ``LoadLocalizationMasks`` reads this set's mask files; see :func:`mmentropy.ops.masks.decode_mask`.
    MASK_FORMAT = 'nonzero'
    #: Whether a mask must be of its image's size; OpenImages' are not.
    MASKS_OF_IMAGE_SIZE = True
    #: Pixels by which a box may stick out of its image.
    BOX_SLACK = 1.0

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        *,
        classes: int | str | Sequence[str] | None = None,
        multi_label: bool | None = None,
        on_bad_image: str = 'raise',
        backend_args: dict | None = None,
        index_cache: bool = True,
        pipeline: Sequence = (),
        metainfo: dict | None = None,
        test_mode: bool | None = None,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        if split not in self.SPLITS:
            raise ValueError(f'{name} has the splits {list(self.SPLITS)}, not {split!r}')
        if on_bad_image not in ('raise', 'skip'):
            raise ValueError(f"on_bad_image must be 'raise' or 'skip', got {on_bad_image!r}")
        test_mode = split not in self.TRAIN_SPLITS if test_mode is None else test_mode
        if on_bad_image == 'skip' and test_mode:
            raise ValueError("on_bad_image='skip' would change what is evaluated; use it for training only")
        self.split, self.on_bad_image, self.backend_args = split, on_bad_image, backend_args
        self.multi_label = self.MULTI_LABEL if multi_label is None else multi_label
        self.kept_classes = classes
        self.index_cache = index_cache
        #: path → reason of every image that this process skipped.
        self.bad_images: dict[str, str] = {}
        super().__init__(
            ann_file='',
            data_root=os.path.expanduser(str(data_root)),
            data_prefix={},  # paths are joined here: mmengine's HTTP backend cannot
            metainfo=metainfo,
            pipeline=pipeline,
            test_mode=test_mode,
            **kwargs,
        )

    # --- what a subclass provides -----------------------------------------------------------------------------------

    @abstractmethod
    def index_files(self) -> list[str]:
        """The files that the index is read from; they decide whether a cached index is fresh."""

    @abstractmethod
    def class_names(self) -> Sequence[str]:
        """Names of all classes of the set, in the order of the labels: what its files and ``classes=`` call them."""

    def readable_names(self) -> Sequence[str]:
        """What to call the classes in pictures and tables, where the set ships better names than its codes."""
        return self.class_names()

    @abstractmethod
    def parse_index(self) -> Iterator[dict]:
        """Yield the entries of the split, see the class."""

    def expected_count(self) -> int | None:
        """Documented number of images of the split, or None."""
        return self.COUNTS.get(self.split)

    # --- paths and messages -----------------------------------------------------------------------------------------

    def path(self, *parts: str) -> str:
        """A path or address below ``data_root``."""
        return join(self.data_root, *parts)

    @property
    def img_prefix(self) -> str:
        """The host's name for where images are; entries hold complete paths."""
        return self.data_root

    @property
    def hint(self) -> str:
        """What to do when a file is missing; the end of an error's sentence."""
        how = f'python tools/dataset_tools/prepare.py {self.NAME} --src DIR --dst {self.data_root or "DIR"}'
        return f'docs/datasets.md tells where {type(self).__name__} comes from and "{how}" prepares it'

    # --- index ------------------------------------------------------------------------------------------------------

    def load_data_list(self) -> list[dict]:
        """All entries of the split, checked and with the kept classes only."""
        return list(self._entries())

    def full_init(self) -> None:
        """Read the index (or its cache) straight into the serialised form; ILSVRC's 1.28 million entries fit easily."""
        if self._fully_initialized:
            return
        names = list(self.class_names())
        keep = self._kept(names)
        shown = self.readable_names()
        self._metainfo.setdefault('classes', tuple(shown[i] for i in keep))
        if not self.serialize_data:
            super().full_init()
            return
        cache = self._cache_file()
        stored = self._read_cache(cache) if cache and cache.is_file() else None
        if stored:
            self.data_bytes, self.data_address = stored
        else:
            self.data_bytes, self.data_address = self._serialize(self._entries())
            if cache and len(self.data_address) >= CACHE_FROM:
                self._write_cache(cache)
        if self._indices is not None:
            chosen = self._indices
            if isinstance(chosen, int):
                chosen = (
                    range(len(self.data_address))[:chosen] if chosen >= 0 else range(len(self.data_address))[chosen:]
                )
            self._fully_initialized = True  # mmengine's slicing asks for the length
            self.data_bytes, self.data_address = self._get_serialized_subset(list(chosen))
        self._fully_initialized = True

    @staticmethod
    def _read_cache(cache: Path) -> tuple[np.ndarray, np.ndarray] | None:
        """Bytes and addresses of a cached index; None for a damaged one, which is then made anew."""
        try:
            arrays = load_npz(cache)
            data, address = arrays['data_bytes'], arrays['data_address']
        except (ValueError, KeyError):
            return None
        whole = data.ndim == address.ndim == 1 and data.dtype == np.uint8 and address.dtype.kind == 'i'
        return (data, address) if whole and len(address) and address[-1] == len(data) else None

    def _kept(self, names: Sequence[str]) -> list[int]:
        """Labels to keep, in their new order."""
        kept = self.kept_classes
        if kept is None:
            return list(range(len(names)))
        if isinstance(kept, int):
            if not 1 <= kept <= len(names):
                raise ValueError(f'classes={kept}: {type(self).__name__} has {len(names)} classes')
            return list(range(kept))
        wanted = mmengine.list_from_file(kept) if isinstance(kept, str) else list(kept)
        place = {name: i for i, name in enumerate(names)}
        unknown = [name for name in wanted if name not in place]
        if unknown or len(set(wanted)) < len(wanted) or not wanted:
            what = f'unknown: {unknown[:5]}' if unknown else 'a class stands twice, or there is none'
            raise ValueError(f'classes: {type(self).__name__} cannot keep these classes ({what})')
        return [place[name] for name in wanted]

    def _entries(self) -> Iterator[dict]:
        """Entries with checks that every set shares: each image once, labels in range, boxes well formed."""
        names = list(self.class_names())
        keep = self._kept(names)
        new = {old: i for i, old in enumerate(keep)}
        seen: set[int] = set()
        for entry in self.parse_index():
            # 64-bit hashes instead of the strings: a clash among a million paths has a chance of 1e-7.
            mark = hash(entry['img_path'])
            if mark in seen:
                raise ValueError(f'{self.where(entry)}: the image {entry["img_path"]!r} stands twice in the split')
            seen.add(mark)
            label = entry['gt_label']
            labels = label if isinstance(label, list) else [label]
            for one in labels:
                if not 0 <= one < len(names):
                    raise ValueError(f'{self.where(entry)}: label {one} is not in 0 to {len(names) - 1}')
            for box in entry.get('gt_bboxes', ()):
                check_box(box, self.where(entry), entry.get('size'), self.BOX_SLACK)
            if len(keep) < len(names) or self.kept_classes is not None:
                if not any(one in new for one in labels):
                    continue
                entry = self._relabel(entry, new)
            yield entry
        if not seen:
            raise ValueError(f'{self.index_files()[0]}: no image of the split {self.split!r}; {self.hint}')

    @staticmethod
    def _relabel(entry: dict, new: dict[int, int]) -> dict:
        """The entry with only the kept classes, renumbered."""
        label = entry['gt_label']
        entry['gt_label'] = [new[i] for i in label if i in new] if isinstance(label, list) else new[label]
        if 'gt_bbox_labels' in entry:
            both = [(b, new[i]) for b, i in zip(entry['gt_bboxes'], entry['gt_bbox_labels']) if i in new]
            entry['gt_bboxes'], entry['gt_bbox_labels'] = [b for b, _ in both], [i for _, i in both]
        return entry

    def where(self, entry: dict) -> str:
        """``file:line`` of an entry, for messages."""
        file = entry.get('source') or self.index_files()[0]
        return f'{file}:{entry["row"]}' if 'row' in entry else f'{file} ({entry["img_path"]})'

    @staticmethod
    def _serialize(entries: Iterable[dict]) -> tuple[np.ndarray, np.ndarray]:
        """Pickle entry by entry into one buffer, never holding a list of a million dicts."""
        buffer, lengths = io.BytesIO(), []
        for entry in entries:
            lengths.append(buffer.write(pickle.dumps(entry, protocol=4)))
        return np.frombuffer(buffer.getbuffer(), dtype=np.uint8), np.cumsum(lengths, dtype=np.int64)

    def _cache_file(self) -> Path | None:
        """Name of the cached index: a hash of the class, its options and the index files' names, sizes and times."""
        if not self.index_cache:
            return None
        stamps = []
        for file in self.index_files():
            if '://' in file or not os.path.isfile(file):
                return None  # behind another backend there is no cheap stamp
            stat = os.stat(file)
            stamps.append((os.path.abspath(file), stat.st_size, stat.st_mtime_ns))
        key = repr(
            (1, type(self).__qualname__, self.data_root, self.split, self.kept_classes, self.cache_key(), stamps)
        )
        folder = Path(os.environ.get('MMENTROPY_CACHE') or Path.home() / '.cache' / 'mmentropy') / 'index'
        return folder / f'{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz'

    def cache_key(self) -> tuple:
        """Further options of a subclass that change its entries."""
        return ()

    def _write_cache(self, cache: Path) -> None:
        try:
            with written_whole(cache) as partial, open(partial, 'wb') as file:
                np.savez(file, data_bytes=self.data_bytes, data_address=self.data_address)
        except OSError as error:  # a read-only home must not stop a training
            print_log(f'the index is not cached: {error}', logger='current', level=logging.WARNING)

    # --- samples ----------------------------------------------------------------------------------------------------

    def get_data_info(self, idx: int) -> dict:
        """The idx-th entry with ``gt_bboxes`` as an array, ``sample_idx`` and ``sample_id``."""
        if not self._fully_initialized:
            self.full_init()
        if self.serialize_data:
            at = range(len(self.data_address))[idx]
            start = int(self.data_address[at - 1]) if at else 0
            info = _PlainUnpickler(io.BytesIO(self.data_bytes[start : int(self.data_address[at])].tobytes())).load()
            info['sample_idx'] = at
        else:
            info = super().get_data_info(idx)
        info['sample_id'] = info['sample_idx']
        if 'gt_bboxes' in info:
            info['gt_bboxes'] = np.array(info['gt_bboxes'], dtype=np.float32).reshape(-1, 4)
        if 'gt_bbox_labels' in info:
            info['gt_bbox_labels'] = np.array(info['gt_bbox_labels'], dtype=np.int64)
        if 'mask_paths' in info or 'ignore_path' in info:
            info['mask_format'] = self.MASK_FORMAT
            if self.MASK_FORMAT == 'palette' and self.multi_label:
                info['palette_lookup'] = self._palette_lookup
        if self.multi_label and not isinstance(info['gt_label'], list):
            info['gt_label'] = [info['gt_label']]
        return info

    @cached_property
    def _palette_lookup(self) -> np.ndarray:
        """(256,) uint8: of a palette mask's index, class + 1 of a kept class, 0 (background) of another; 255 stays."""
        if self.kept_classes is None:
            return np.arange(IGNORE_LABEL + 1, dtype=np.uint8)
        lookup = np.zeros(IGNORE_LABEL + 1, dtype=np.uint8)
        lookup[IGNORE_LABEL] = IGNORE_LABEL
        for new, old in enumerate(self._kept(list(self.class_names()))):
            if old + 1 < IGNORE_LABEL:  # a palette has no index for further classes
                lookup[old + 1] = new + 1
        return lookup

    def prepare_data(self, idx: int) -> Any:
        """Load, check and transform one sample; None for an image that ``on_bad_image='skip'`` passes over."""
        info = self.get_data_info(idx)
        transforms = self.pipeline.transforms
        loaders = list(itertools.takewhile(is_loader, transforms))
        try:
            results = load_sample(info, loaders, self.where(info), self.BOX_SLACK)
        except BadSampleError as error:
            if self.on_bad_image == 'raise':
                # The same sentence as the kind of error that a caller expects.
                raise error.kind(str(error)) from None
            if info['img_path'] not in self.bad_images:
                self.bad_images[info['img_path']] = str(error)
                print_log(f'skipped bad image {len(self.bad_images)}: {error}', 'current', logging.WARNING)
            return None
        keep_ground_truth(results)
        for transform in transforms[len(loaders) :]:
            results = transform(results)
            if results is None:
                return None
        return results

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label(s) of image ``idx``."""
        label = self.get_data_info(idx)['gt_label']
        return label if isinstance(label, list) else [label]

    def extra_repr(self) -> list[str]:
        """Root and split, for ``repr``."""
        return [f'Root: \t{self.data_root}', f'Split: \t{self.split}']


class _PlainUnpickler(pickle.Unpickler):
    """Reads strings, numbers and lists only: a planted cache file cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f'the index holds {module}.{name}, plain values are expected; delete the cache')
