# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Score maps in files, made by any framework."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TextIO

import cv2
import numpy as np

from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.tensors import is_tensor
from mmentropy.safe_files import parse_arrays
from mmentropy.shard_files import SHARD_SUFFIX, Member, list_members
from mmentropy.structures import CAM_LABELS, CAMS, GT_LABEL, MAP_GRID, MOST_CLASSES, PRED_LABEL, PRED_SCORE

from .samples import to_numpy

MAP_SUFFIXES = ('.npy', '.npz', '.png')
#: A file of maps that would take more memory than this is refused: 1000 classes at 224² are 200 MB.
MOST_BYTES = 512 * 2**20


@dataclass(frozen=True)
class StoredMaps:
    """What a file of maps holds.

    Attributes:
        cams: (K, h, w) float32.
        labels: (K,) their classes; −1 for a map that serves whatever class is asked for.
        ranking: the image's classes, best first, as the model that made the maps predicts them; None if not told.
        size: (height, width) of the image that the maps were made of; None if not told.
        grid: where the maps' locations look in their image, which may have been resized as a whole; None if not told:
            then they tile it.
    """

    cams: np.ndarray
    labels: np.ndarray = field(default_factory=lambda: np.array([-1]))
    ranking: list[int] | None = None
    size: tuple[int, int] | None = None
    grid: MapGrid | None = HALF_PIXEL


@dataclass(frozen=True)
class MapBytes:
    """One image's file of maps as it was read: what it hashes to is what is evaluated.

    Attributes:
        place: its path, or its place in a shard.
        data: its bytes; None without.
        problem: why there is none, or why it must not be used.

    >>> MapBytes('a.npy', None, FileNotFoundError('no map')).digest() == MapBytes('a.npy', b'').digest()
    False
    """

    place: Path | Member | str
    data: bytes | None
    problem: Exception | None = None

    def digest(self) -> bytes:
        """Hash of name and bytes; empty where there is no file."""
        if self.place == '':
            return b''
        content = hashlib.blake2b(os.fsencode(self.place), digest_size=12)
        content.update(b'missing' if self.data is None else self.data)
        return content.digest()

    def maps(self) -> StoredMaps:
        """The maps, see :func:`load_maps`."""
        if self.problem is not None or self.data is None:
            raise self.problem or FileNotFoundError('no map')
        return parse_maps(self.data, self.place)


class MapFolder:
    """A folder of ``<image_id>.npy``, ``.npz`` or ``.png``, with or without the image's own suffix and folders.

    For the id ``001.Albatross/a_1.jpg`` these names are looked for, in this order: ``001.Albatross/a_1.jpg.npy``,
    ``001.Albatross/a_1.npy``, ``a_1.jpg.npy``, ``a_1.npy``; what lacks leading folders of the id only if no other id
    ends alike. Files may lie in shards, see :mod:`mmentropy.shard_files`: those of ``val/maps-00000.tar`` count as if
    they lay in ``val``.

    Args:
        folder: searched with all its sub-folders.
        image_ids: every id of the metadata.

    >>> np.save('cat_1.npy', np.eye(2))
    >>> folder = MapFolder('.', image_ids=['cats/cat_1.jpg'])
    >>> folder.read('cats/cat_1.jpg').cams.tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """

    def __init__(self, folder: str | Path, image_ids: Sequence[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f'{folder} is not a folder; give the one that holds the score maps')
        by_name: dict[str, Path | Member] = {}
        twice: dict[Path | Member, Path | Member] = {}
        #: Shards that are not whole, and what is wrong with them.
        self.damaged: list[tuple[str, str]] = []
        for name, place in self._files():
            first = by_name.setdefault(name, place)
            if first is not place:
                twice[first] = place
        self.paths: dict[str, Path | Member] = {}
        #: What keeps an id from having one map: two files of its name, or a file that may be another id's.
        self.unclear: dict[str, str] = {}
        ends = Counter(stem for image_id in image_ids for _, stem in _endings(image_id))
        stems = Counter(_stem_of(image_id) for image_id in image_ids)
        for image_id in image_ids:
            for depth, names in enumerate(_endings(image_id)):
                name = next((name for name in names if name in by_name), None)
                if name is None or (depth and ends[names[1]] > 1):
                    continue
                path = self.paths[image_id] = by_name[name]
                if name == names[1] != names[0] and stems[_stem_of(image_id)] > 1:
                    self.unclear[image_id] = f'{path} may be its map or that of another id; name it {names[0]}.npy'
                elif path in twice:
                    self.unclear[image_id] = f'{path} and {twice[path]} are both its map; remove one'
                break
        used = set(self.paths.values()) | {twice[path] for path in self.paths.values() if path in twice}
        strangers = [path for path in (*by_name.values(), *twice.values()) if path not in used]
        #: Map files that belong to no id.
        self.strangers = sorted(strangers, key=str)

    def _files(self) -> Iterator[tuple[str, Path | Member]]:
        """Name without suffix, relative to the folder, and place of every file of maps."""
        for root, _, names in os.walk(self.folder):
            below = Path(root).relative_to(self.folder).as_posix()
            below = '' if below == '.' else f'{below}/'
            for name in sorted(names):
                suffix = os.path.splitext(name)[1].lower()
                if suffix in MAP_SUFFIXES:
                    yield _stem_of(below + name), Path(root, name)
                elif suffix == SHARD_SUFFIX:
                    found = list_members(Path(root, name))
                    if found.problem:
                        self.damaged.append((str(Path(root, name)), found.problem))
                    for member in found.members:
                        if os.path.splitext(member.path)[1].lower() in MAP_SUFFIXES:
                            yield _stem_of(below + member.path), member

    def fetch(self, image_id: str) -> MapBytes:
        """The bytes of one image's file; what is wrong with it comes when its maps are asked for."""
        place = self.paths.get(image_id)
        if place is None:
            return MapBytes('', None, FileNotFoundError('no map'))
        unclear = ValueError(self.unclear[image_id]) if image_id in self.unclear else None
        try:
            return MapBytes(place, _bytes_of(place), unclear)
        except (OSError, ValueError) as error:
            return MapBytes(place, None, unclear or error)

    def digest(self, image_id: str) -> bytes:
        """Hash of the image's map file, name and bytes: what must not change between a run and its resumption."""
        return self.fetch(image_id).digest()

    def read(self, image_id: str) -> StoredMaps:
        """The maps of one image, see :func:`load_maps`.

        Raises:
            FileNotFoundError: if there are none.
            ValueError: if it is not clear which file is the image's, and as :func:`load_maps`.
        """
        return self.fetch(image_id).maps()


def _bytes_of(place: Path | Member) -> bytes:
    """A file's content; ValueError if it is larger than a file of maps may be."""
    size = place.size if isinstance(place, Member) else os.path.getsize(place)
    if size > MOST_BYTES:
        raise ValueError(
            f'{place} takes {size / 1e6:.0f} MB of memory, more than {MOST_BYTES / 1e6:.0f}; scale it down'
        )
    if isinstance(place, Member):
        return place.read()
    with open(place, 'rb', buffering=0) as file:
        return file.read()


def _stem_of(image_id: str) -> str:
    """An id without its suffix, as pathlib has it; a million of them without its objects."""
    start = image_id.rfind('/') + 1
    dot = image_id.rfind('.')
    return image_id[:dot] if start < dot < len(image_id) - 1 else image_id


def _endings(image_id: str) -> Iterator[tuple[str, str]]:
    """An id with ever fewer of its leading folders, each with and without its suffix."""
    plain = '//' not in image_id and '.' not in image_id.split('/')
    name = image_id if plain else PurePosixPath(image_id).as_posix()
    while name:
        yield name, _stem_of(name)
        name = name.partition('/')[2]


class OneMap:
    """The same map for every image: a baseline that does not look at it.

    Args:
        cam: (h, w).

    >>> OneMap(np.eye(2)).read('any.jpg').cams.shape
    (1, 2, 2)
    """

    strangers: tuple[Path, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()

    def __init__(self, cam: np.ndarray) -> None:
        self.cam = cam

    def digest(self, image_id: str = '') -> bytes:
        """Hash of the map."""
        return hashlib.blake2b(np.ascontiguousarray(self.cam), digest_size=12).digest()

    def fetch(self, image_id: str) -> OneMap:
        """Itself, which hashes and gives its maps as :class:`MapBytes` does."""
        return self

    def maps(self) -> StoredMaps:
        """The map."""
        return StoredMaps(self.cam[None])

    def read(self, image_id: str) -> StoredMaps:
        """The map."""
        return self.maps()


def read_map(path: str | Path) -> np.ndarray:
    """A score map: any real numbers of any size, or 8-bit grey values as shares of 255.

    Args:
        path: ``.npy``; ``.npz`` with one array, or one called ``cam``; ``.png`` with 8 bits and one channel.

    Returns:
        (h, w) float32.

    Raises:
        ValueError: for a file that cannot be read, another number of axes than two (leading ones of length 1 are
            taken off), no pixel, numbers that are not real, NaN or infinite values.
    """
    path = Path(path)
    return _parse_map(_bytes_of(path), path)


def _parse_map(data: bytes, place: Path | Member | str) -> np.ndarray:
    if str(place).lower().endswith('.png'):
        _check_png_size(data[:24], place)
        try:
            cam = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:  # a header that speaks of more pixels than OpenCV decodes
            cam = None
        if cam is None:
            raise ValueError(f'{place} cannot be decoded as a picture')
        if cam.dtype != np.uint8 or cam.ndim != 2:
            raise ValueError(f'{place} is not an 8-bit picture of one channel: {cam.dtype}, shape {cam.shape}')
        return cam.astype(np.float32) / 255
    return _one_map(parse_arrays(data, place, MOST_BYTES), place)


def _check_png_size(head: bytes, place: object) -> None:
    """ValueError for a picture that speaks of more pixels than a map may have; OpenCV would decode 2³⁰ of them."""
    if head[:8] != b'\x89PNG\r\n\x1a\n' or len(head) < 24:
        return  # OpenCV says what it is
    width, height = int.from_bytes(head[16:20], 'big'), int.from_bytes(head[20:24], 'big')
    if width * height > MOST_BYTES // 4:
        most = MOST_BYTES // 4 / 1e6
        raise ValueError(f'{place} has {width * height / 1e6:.0f} megapixels, more than {most:.0f}; scale it down')


def load_maps(path: str | Path) -> StoredMaps:
    """The maps of a file: one, see :func:`read_map`, or one a class, as ``tools/localize.py --write maps`` writes them.

    The latter is an ``.npz`` with ``maps`` (K, h, w), ``labels`` (K,) and, best class first, ``ranking``. Either kind
    of ``.npz`` may have a ``grid`` (3, 2): start, step and size of :class:`~mmentropy.ops.mapping.geometry.MapGrid`.

    Raises:
        ValueError: as :func:`read_map`, for maps and labels that do not go together, and for a grid that cannot be one.
    """
    path = Path(path)
    return parse_maps(_bytes_of(path), path)


def parse_maps(data: bytes, place: Path | Member | str) -> StoredMaps:
    """The same of a file's bytes; ``place`` tells its kind by its suffix, and is what an error calls it.

    >>> import io
    >>> buffer = io.BytesIO()
    >>> np.savez(buffer, maps=np.zeros((2, 3, 3)), labels=[4, 7])
    >>> parse_maps(buffer.getvalue(), 'a.npz').labels.tolist()
    [4, 7]
    """
    path = place
    content = parse_arrays(data, path, MOST_BYTES) if str(path).lower().endswith('.npz') else None
    if not isinstance(content, dict):
        return StoredMaps((_parse_map(data, path) if content is None else _one_map(content, path))[None])
    grid = _grid(content.pop('grid', None), path)
    if not {'maps', 'labels'} <= content.keys():
        return StoredMaps(_one_map(content, path)[None], grid=grid)
    cams, labels = content['maps'], content['labels']
    ranking = content.get('ranking', np.zeros(0, np.int64))
    whole = all(array.dtype.kind in 'iu' and array.ndim == 1 for array in (labels, ranking))
    if not whole or cams.ndim != 3 or len(cams) != len(labels) or not len(cams) or not _are_classes(ranking):
        raise ValueError(
            f'{path} holds maps of the shape {cams.shape} for labels of the shape {labels.shape}, expected '
            f'(K, height, width) and (K,), and a ranking of classes from 0 to {MOST_CLASSES - 1}'
        )
    cams = np.stack([_one_map(cam, path) for cam in cams])
    size = content.get('size', np.zeros(0, np.int64))
    told = (int(size[0]), int(size[1])) if size.shape == (2,) and size.dtype.kind in 'iu' else None
    return StoredMaps(cams, labels.astype(np.int64), ranking.tolist() if len(ranking) else None, told, grid)


#: Starts and steps beyond this many pixels are a slip of the hand, as are steps of less than one part of it.
MOST_PIXELS = 1e6


def _grid(array: np.ndarray | None, path: object) -> MapGrid | None:
    """The grid that a file holds, if it does and can be one."""
    if array is None:
        return HALF_PIXEL
    whole = array.dtype.kind in 'iuf' and array.size == 6
    start, step, size = np.float64(array).reshape(3, 2) if whole else np.full((3, 2), np.nan)
    if not (
        (np.abs(start) <= MOST_PIXELS).all()
        and ((step >= 1 / MOST_PIXELS) & (step <= MOST_PIXELS)).all()
        and ((size >= 1) & (size <= MOST_PIXELS)).all()
        and (size == np.round(size)).all()
    ):
        raise ValueError(
            f'{path} holds a grid of the shape {array.shape}, {str(array.tolist())[:100]}; expected start, step (above '
            '0) and image size in pixels, y and x each, shape (3, 2); leave it out for maps that tile their image'
        )
    return MapGrid.from_array(array)


def _are_classes(labels: np.ndarray) -> bool:
    return bool(((labels >= 0) & (labels < MOST_CLASSES)).all())


def _one_map(cam: np.ndarray | dict[str, np.ndarray], path: object) -> np.ndarray:
    """(h, w) float32 from what a file holds; the errors of :func:`read_map`."""
    if isinstance(cam, dict):
        if len(cam) != 1 and 'cam' not in cam:
            raise ValueError(f"{path} needs one array, or one called 'cam', found {list(cam)}")
        cam = cam['cam'] if 'cam' in cam else next(iter(cam.values()))
    shape = cam.shape
    while cam.ndim > 2 and len(cam) == 1:
        cam = cam[0]
    if cam.ndim != 2 or cam.size == 0:
        raise ValueError(f'{path} has the shape {shape}, expected (height, width)')
    if not (np.issubdtype(cam.dtype, np.integer) or np.issubdtype(cam.dtype, np.floating)):
        raise ValueError(f'{path} holds {cam.dtype}, expected real numbers')
    cam = cam.astype(np.float32)
    if not np.isfinite(cam).all():
        raise ValueError(f'{path} holds {int((~np.isfinite(cam)).sum())} NaN or infinite values')
    return cam


def read_predictions(path: str | Path) -> dict[str, list[int]]:
    """Predicted classes, rows ``image_id,label`` or ``image_id,best,second,…`` (the id must not hold a comma).

    Raises:
        FileNotFoundError: without the file.
        ValueError: for a malformed row, naming file and line.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist; --predictions wants rows image_id,best,second,…')
    predictions: dict[str, list[int]] = {}
    with open(path, newline='', encoding='utf-8') as file:
        for line, row in enumerate(_csv_rows(file, path), start=1):
            if not row:
                continue
            try:
                labels = [int(value) for value in row[1:]]
            except ValueError:
                labels = []
            if not labels or row[0] in predictions:
                raise ValueError(f'{path}:{line}: expected image_id,best,second,… once for each image, found {row}')
            if not 0 <= min(labels) <= max(labels) < MOST_CLASSES:
                raise ValueError(f'{path}:{line}: labels are from 0 to {MOST_CLASSES - 1}, found {labels}')
            predictions[row[0]] = labels
    return predictions


def _csv_rows(file: TextIO, path: str | Path) -> Iterator[list[str]]:
    """Rows of a CSV file; what is no CSV or no UTF-8 is a ValueError with the path."""
    try:
        yield from csv.reader(file)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{path} is no CSV in UTF-8 ({error}); expected rows image_id,best,second,…') from None


def with_map(sample: dict, stored: StoredMaps, ranked: Sequence[int] | None = None) -> dict:
    """A ground-truth sample with its maps, and predictions from a ranking of classes (the maps' own by default).

    Fewer than five ranked classes say only whether the first is right.

    Raises:
        ValueError: if there are maps of other classes only, or of the image turned on its side.
    """
    shape = tuple(int(side) for side in sample.get('ori_shape', ())[:2])
    if stored.size and stored.size != shape and stored.size[::-1] == shape:
        raise ValueError(
            f'the maps are of an image {stored.size[0]} high and {stored.size[1]} wide, its boxes and masks of one of '
            f'{shape[0]} by {shape[1]}: it was turned by its EXIF tag; make the maps with localize.py --as-stored'
        )
    own = [label for label in np.asarray(sample[GT_LABEL]).reshape(-1).tolist() if label not in stored.labels]
    if own and -1 not in stored.labels:
        raise ValueError(
            f'there are maps of the classes {stored.labels.tolist()} but not of its own, {own[0]}; '
            'write those of all (localize.py --classes all)'
        )
    # The pipeline of the truths is not the one that the maps went through: these are of the whole image.
    sample = {key: value for key, value in sample.items() if key not in ('img_shape', 'scale_factor', MAP_GRID)}
    sample |= {CAMS: stored.cams, CAM_LABELS: stored.labels}
    if stored.grid is not None:
        sample[MAP_GRID] = stored.grid
    ranked = stored.ranking if ranked is None else ranked
    if ranked is not None and len(ranked) < 5:
        sample[PRED_LABEL] = np.array(ranked[:1])
    elif ranked is not None:
        label = int(np.asarray(sample[GT_LABEL]).reshape(-1)[0])
        scores = np.full(max([label, *ranked]) + 1, -1.0)  # classes that are not ranked come last …
        scores[label] = -2.0  # … the image's own at the very end
        scores[list(ranked)] = np.arange(len(ranked), 0, -1)
        sample[PRED_SCORE] = np.concatenate([scores, np.full(5, -1.0)])
    return sample


class Truths(Protocol):
    """Ground truths by index: ids, whether they are masks, and a sample in the metrics' fields."""

    ids: list[str]
    masks: bool

    def __getitem__(self, index: int) -> dict[str, Any]: ...


def truth_digest(truths: Truths, index: int) -> bytes:
    """Hash of one image's ground truth; by its own ``digest`` where it has one that spares reading the image."""
    own = getattr(truths, 'digest', None)
    if own is not None:
        return own(index)
    content = hashlib.blake2b(digest_size=12)
    try:
        sample = truths[index]
    except (ValueError, KeyError, OSError) as error:
        return str(error).encode()
    for name, value in sorted(sample.items()):
        array = to_numpy(value) if is_tensor(value) else value
        if isinstance(array, np.ndarray):
            content.update(repr((name, array.dtype, array.shape)).encode())
            content.update(np.ascontiguousarray(array))
        else:
            content.update(repr((name, array)).encode())
    return content.digest()
