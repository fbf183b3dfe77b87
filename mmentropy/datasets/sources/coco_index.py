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

from mmentropy.image_files import MAX_PIXELS
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
        categories = _categories(content['categories'], path)
        of_image: dict[int, list] = {_number(one, 'id', path): [] for one in content['images']}
        if len(of_image) < len(content['images']):
            raise ValueError(f'{path}: two images have one id')
        _group(content['annotations'], list(categories), of_image, path)
        return _index(content['images'], categories, of_image, path)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path}: an entry is not as in COCO ({type(error).__name__}: {error})') from None


def _number(entry: dict[str, Any], name: str, path: Path) -> int:
    """A whole number of an entry."""
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f'{path}: {name} is a whole number from 0, found {value!r}')
    return value


def _categories(entries: list[dict[str, Any]], path: Path) -> dict[int, str]:
    """Id → name, by increasing id."""
    ids = [_number(one, 'id', path) for one in entries]
    names = [str(one['name']) for one in entries]
    for values in (names, ids):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f'{path}: {twice!r} stands twice among the categories')
    if not names:
        raise ValueError(f'{path}: no category in it')
    return dict(sorted(zip(ids, names)))


def _group(entries: list[dict[str, Any]], categories: list[int], of_image: dict[int, list], path: Path) -> None:
    """Append every annotation to its image's: class, whether it is a crowd, segmentation."""
    label_of = {number: label for label, number in enumerate(categories)}
    for one in entries:
        category, image = one['category_id'], one['image_id']
        name = f'{path}: annotation {one.get("id", "without id")}'
        if category not in label_of:
            raise ValueError(f'{name} is of category {category}, which is none of the {len(categories)} categories')
        if image not in of_image:
            raise ValueError(f'{name} is of image {image}, which is not in the file')
        of_image[image].append((label_of[category], bool(one.get('iscrowd')), one['segmentation']))


def _index(
    entries: list[dict[str, Any]], categories: dict[int, str], of_image: dict[int, list], path: Path
) -> CocoIndex:
    """Images by the names of their files, and the text of their annotations end to end."""
    images: dict[str, CocoImage] = {}
    parts, start = [], 0
    for one in sorted(entries, key=lambda one: str(one['file_name'])):
        file, own = str(one['file_name']), of_image[one['id']]
        try:
            key = key_of(file)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None
        if key in images:
            raise ValueError(f'{path}: {file!r} and {images[key].file!r} would both be called {key!r}')
        parts.append(json.dumps(own, separators=(',', ':')).encode())
        size = _number(one, 'height', path), _number(one, 'width', path)
        if not 0 < size[0] * size[1] <= MAX_PIXELS:
            raise ValueError(f'{path}: {file!r} has {size[1]}×{size[0]} pixels')
        labels = tuple(sorted({label for label, _, _ in own}))
        images[key] = CocoImage(file, one['id'], size, labels, start, start + len(parts[-1]))
        start += len(parts[-1])
    segments = np.frombuffer(b''.join(parts), np.uint8)
    return CocoIndex(path, tuple(categories.values()), tuple(categories), images, segments)
