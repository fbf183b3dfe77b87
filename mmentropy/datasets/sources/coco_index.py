# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""COCO's instances JSON, image by image. A large file is read once; what is kept beside it opens in a moment."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmentropy.ops.polygons import fill_polygon
from mmentropy.ops.run_lengths import decode_runs, expand_runs
from mmentropy.safe_files import load_json, write_whole

from .image_source import key_of

#: Bytes of a file from which on its index is kept in ``$MMENTROPY_CACHE`` or ``~/.cache/mmentropy``.
CACHE_FROM = 50_000_000
#: Of the kept form; another number, and it is made anew.
VERSION = 1


class CocoImage(NamedTuple):
    """One image of the file.

    Attributes:
        file: its path below the folder of the images.
        number: its ``id``.
        size: (height, width).
        labels: classes from 0 that have an annotation, increasing.
        start, stop: where its annotations stand in :attr:`CocoIndex.segments`.
    """

    file: str
    number: int
    size: tuple[int, int]
    labels: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class CocoIndex:
    """What :func:`read_coco` makes of a file.

    Attributes:
        path: of the file, for messages.
        names: of the categories, by increasing id.
        categories: their ids.
        images: id of an image, as :func:`~mmentropy.datasets.sources.image_source.key_of` its file → the image.
        segments: bytes, JSON of each image's annotations: class, whether it is a crowd, its segmentation.

    >>> image = dict(id=7, file_name='a.jpg', width=2, height=1)
    >>> segment = dict(image_id=7, category_id=90, segmentation=[[0, 0, 1, 0, 1, 1, 0, 1]])
    >>> coco = dict(images=[image], annotations=[segment], categories=[dict(id=90, name='brush')])
    >>> index = index_coco(coco, Path('a.json'))
    >>> index.names, index.images['a'].labels, index.mask('a').tolist()
    (('brush',), (0,), [[1, 0]])
    """

    path: Path
    names: tuple[str, ...]
    categories: tuple[int, ...]
    images: dict[str, CocoImage]
    segments: np.ndarray

    def annotations(self, key: str) -> str:
        """JSON of an image's annotations."""
        image = self.images[key]
        return bytes(self.segments[image.start : image.stop]).decode()

    def mask(self, key: str) -> np.ndarray:
        """(H, W) int32 of class + 1, 0 background. Crowds lie below the objects, and large objects below small ones.

        Raises:
            ValueError: for a segmentation that cannot be drawn, or is of another size.
        """
        image = self.images[key]
        drawn = []
        for label, crowd, segmentation in json.loads(self.annotations(key)):
            try:
                shape = draw_segmentation(segmentation, image.size)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                what = f'an annotation of {self.names[label]!r} in image {image.number}'
                raise ValueError(f'{self.path}: {what} cannot be drawn ({error})') from None
            drawn.append((not crowd, -int(shape.sum()), len(drawn), label, shape))
        mask = np.zeros(image.size, np.int32)
        for *_, label, shape in sorted(drawn, key=lambda one: one[:3]):
            mask[shape] = label + 1
        return mask


def draw_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of a COCO segmentation: a list of polygons, or run lengths, compressed or not.

    Raises:
        ValueError: for what is neither, or run lengths of another size.

    >>> draw_segmentation(dict(size=[2, 2], counts=[1, 3]), (2, 2)).astype(int).tolist()
    [[0, 1], [1, 1]]
    """
    if isinstance(segmentation, list):
        shape = np.zeros(size, bool)
        for polygon in segmentation:
            shape |= fill_polygon(polygon, size)
        return shape
    if not isinstance(segmentation, dict) or 'counts' not in segmentation:
        raise ValueError(f'a segmentation is a list of polygons or run lengths, found {type(segmentation).__name__}')
    own = tuple(int(side) for side in segmentation.get('size', size))
    if own != tuple(size):
        raise ValueError(f'its run lengths have size {own}, the image {tuple(size)}')
    counts = segmentation['counts']
    return decode_runs(expand_runs(counts) if isinstance(counts, str) else counts, size)


def read_coco(path: str | Path) -> CocoIndex:
    """The index of an instances file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no JSON or cut off, or names an image or category that it has not, or one twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; it holds the annotations, in the form of COCO')
    stat = path.stat()
    return _read(path.absolute(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, size: int, changed: int) -> CocoIndex:
    if size < CACHE_FROM:
        return index_coco(_load(path), path)
    name = hashlib.sha256(repr((VERSION, str(path), size, changed)).encode()).hexdigest()[:32]
    folder = Path(os.environ.get('MMENTROPY_CACHE') or Path.home() / '.cache/mmentropy') / 'coco'
    kept = _kept(path, folder / name)
    if kept is None:
        index = index_coco(_load(path), path)
        content = {'names': index.names, 'categories': index.categories, 'images': index.images}
        try:
            write_whole(folder / f'{name}.bin', index.segments.tobytes())
            write_whole(folder / f'{name}.json', json.dumps(content))  # last: it says that the other is whole
        except OSError:  # a read-only home stops nothing
            return index
        kept = _kept(path, folder / name) or index
    return kept


def _kept(path: Path, place: Path) -> CocoIndex | None:
    """The index that an earlier process has kept; None if there is none that is whole."""
    try:
        content = load_json(place.with_suffix('.json'))
        images = {
            key: CocoImage(file, number, tuple(size), tuple(labels), start, stop)
            for key, (file, number, size, labels, start, stop) in content['images'].items()
        }
        segments = np.memmap(place.with_suffix('.bin'), np.uint8, 'r')
        if max((image.stop for image in images.values()), default=0) > len(segments):
            return None
        return CocoIndex(path, tuple(content['names']), tuple(content['categories']), images, segments)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _load(path: Path) -> dict[str, Any]:
    return load_json(path, 'it is no whole file of annotations: fetch or write it again')


def index_coco(content: dict[str, Any], path: Path) -> CocoIndex:
    """The index of an instances file's content; raises as :func:`read_coco`."""
    for name in ('images', 'annotations', 'categories'):
        if not isinstance(content.get(name), list):
            raise ValueError(f'{path}: no list {name!r} in it; COCO files have images, annotations and categories')
    try:
        return _index(content, path)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path}: an entry is not as in COCO ({type(error).__name__}: {error})') from None


def _index(content: dict[str, Any], path: Path) -> CocoIndex:
    categories = {int(one['id']): str(one['name']) for one in content['categories']}
    names = [categories[number] for number in sorted(categories)]
    if len(categories) < len(content['categories']) or len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1) if len(set(names)) < len(names) else 'an id'
        raise ValueError(f'{path}: {twice!r} stands twice among the categories')
    if not names:
        raise ValueError(f'{path}: no category in it')
    place = {number: label for label, number in enumerate(sorted(categories))}
    of_image: dict[int, list[tuple[int, int, Any]]] = {int(one['id']): [] for one in content['images']}
    if len(of_image) < len(content['images']):
        raise ValueError(f'{path}: two images have one id')
    for one in content['annotations']:
        name = f'{path}: annotation {one.get("id", "without id")}'
        if one['category_id'] not in place:
            raise ValueError(
                f'{name} is of category {one["category_id"]}, which is none of the {len(names)} categories'
            )
        if one['image_id'] not in of_image:
            raise ValueError(f'{name} is of image {one["image_id"]}, which is not in the file')
        of_image[one['image_id']].append((place[one['category_id']], int(one.get('iscrowd', 0)), one['segmentation']))
    images: dict[str, CocoImage] = {}
    parts, start = [], 0
    for one in sorted(content['images'], key=lambda one: str(one['file_name'])):
        key = key_of(str(one['file_name']))
        if key in images:
            raise ValueError(f'{path}: {one["file_name"]!r} and {images[key].file!r} would both be called {key!r}')
        own = of_image[one['id']]
        parts.append(json.dumps(own, separators=(',', ':')).encode())
        labels = tuple(sorted({label for label, _, _ in own}))
        size = int(one['height']), int(one['width'])
        images[key] = CocoImage(str(one['file_name']), one['id'], size, labels, start, start := start + len(parts[-1]))
    segments = np.frombuffer(b''.join(parts), np.uint8)
    return CocoIndex(path, tuple(names), tuple(sorted(categories)), images, segments)
