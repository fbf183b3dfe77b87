# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the explorer shows of one image: plain data, without a web server."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmentropy.apis import Localizer
from mmentropy.apis.images import iterate_images
from mmentropy.explain import METHODS
from mmentropy.image_files import read_image
from mmentropy.ops.certainty.entropy import max_entropy
from mmentropy.ops.localizing.boxes import box_iou
from mmentropy.ops.localizing.map_boxes import boxes_from_map
from mmentropy.ops.localizing.threshold_rules import own_threshold
from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.scaling import draw_maps, upsample_map
from mmentropy.safe_files import load_npz
from mmentropy.visualization.report_data import ReportData

READINGS = ('protocol', 'relu', 'certain', 'certain+spread')
#: Longer sides in pixels: of the picture that is sent, and of the maps, which the page colours and cuts.
PICTURE, MAP = 1024, 224
#: Uploads: of so many bytes and pixels at most, and so many are kept.
UPLOAD_BYTES, UPLOAD_PIXELS, UPLOADS = 20_000_000, 40_000_000, 16
#: Classes of a folder of maps to choose from.
BEST = 5
#: Views that are kept.
KEPT = 64


@dataclass(frozen=True)
class ShownMap:
    """One image, one class, one way of reading.

    Attributes:
        size: (height, width) of the image.
        label: number of the class that the map is of.
        best: (number, name, score) of the likeliest classes.
        cam: (h, w) uint8, the map over the image; 255 is its maximum, 0 none or negative.
        entropy: (h, w) uint8, location entropy from 0 to ``entropy_top`` nats; None where the network has none.
        entropy_top: nats that 255 stands for.
        own: threshold that the map chooses itself, as a share.
        truth: (n, 4) true boxes as shares of width and height.
        mean_entropy: of the locations, nats.
    """

    size: tuple[int, int]
    label: int
    best: tuple[tuple[int, str, float], ...]
    cam: np.ndarray
    entropy: np.ndarray | None = None
    entropy_top: float = 1.0
    own: float = 0.5
    truth: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    mean_entropy: float = float('nan')

    def iou(self, threshold: float | None = None) -> float:
        """Of the largest component's box with the best true one; NaN without truth."""
        boxes = boxes_from_map(self.cam / 255, self.own if threshold is None else threshold)
        if not len(self.truth):
            return float('nan')
        if not len(boxes):
            return 0.0
        last = np.array([0, 0, 1, 1])  # box_iou counts the last pixel in, these boxes end behind it
        truth = self.truth * np.array(self.cam.shape[::-1] * 2)
        return float(box_iou(boxes - last, truth - last).max())


@dataclass
class Picture:
    """An image to look at.

    Attributes:
        name: shown to the user.
        read: gives it as (H, W, 3) uint8 RGB.
        truth: gives (n, 4) true boxes x0 y0 x1 y1 in its pixels.
        label: true class, or −1.
        path: of its file, for the command that reproduces what is seen; empty where there is none.
    """

    name: str
    read: Callable[[], np.ndarray]
    truth: Callable[[], np.ndarray] = lambda: np.zeros((0, 4), np.float32)
    label: int = -1
    path: str = ''


def pictures_of_files(paths: Sequence[Path]) -> list[Picture]:
    """Image files, and those of folders.

    Raises:
        FileNotFoundError: for a path that does not exist, or a folder without images.
    """
    for path in paths:
        if not Path(path).exists():
            raise FileNotFoundError(f'{path}: no such file or folder')
    found = [item for path in paths for item in iterate_images(path)]
    return [Picture(name, lambda source=source: read_image(source), path=str(source)) for name, source in found]


def pictures_of_data(data: Any, limit: int) -> list[Picture]:
    """The first images of a data set, with their truth."""
    from mmentropy.visualization.browse import original_sample

    def picture(index: int) -> Picture:
        def read() -> np.ndarray:
            return np.ascontiguousarray(original_sample(data, index)['img'][..., ::-1])

        def truth() -> np.ndarray:
            return np.asarray(original_sample(data, index).get('gt_bboxes', ()), np.float32).reshape(-1, 4)

        info = data.get_data_info(index)
        label = info.get('gt_label', -1)
        label = int(label[0] if isinstance(label, list | tuple | np.ndarray) else label)
        path = str(info.get('img_path') or '')
        return Picture(Path(path).name or f'image {index}', read, truth, label, path)

    return [picture(index) for index in range(min(limit, len(data)))]


class ModelViews:
    """Views of pictures by one model or several, each made when it is asked for, and kept.

    Args:
        models: title → localizer.
        pictures: to step through.
        commands: title → (config, checkpoint) as they were given, for the command that reproduces a view.

    Raises:
        ValueError: without models.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    readings: tuple[str, ...] = READINGS

    def __init__(
        self,
        models: Mapping[str, Localizer],
        pictures: Sequence[Picture],
        commands: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        if not models:
            raise ValueError('the explorer needs a model')
        self.models, self.pictures, self.commands = dict(models), list(pictures), dict(commands or {})
        self.fixed = len(self.pictures)  # those behind were uploaded
        self._readers: dict[tuple[str, str], Localizer] = {}
        self._views: OrderedDict[tuple, ShownMap] = OrderedDict()
        self._lock = threading.Lock()  # one forward at a time

    @property
    def titles(self) -> list[str]:
        """Of the models."""
        return list(self.models)

    def classes(self, title: str) -> tuple[str, ...]:
        """Names of a model's classes, where it has them."""
        return self.models[title].classes or ()

    def add(self, data: bytes) -> int:
        """Take up an upload; its number.

        Raises:
            ValueError: for one that is too large, or no image.
        """
        if len(data) > UPLOAD_BYTES:
            raise ValueError(f'the file has {len(data) / 1e6:.0f} MB, at most {UPLOAD_BYTES / 1e6:.0f} are taken')
        try:
            with Image.open(io.BytesIO(data)) as opened:
                width, height = opened.size
                if width * height > UPLOAD_PIXELS:
                    raise ValueError(
                        f'the image has {width}×{height} pixels, more than {UPLOAD_PIXELS / 1e6:.0f} million'
                    )
                image = read_image(opened)
        except (OSError, Image.DecompressionBombError) as error:
            raise ValueError(f'this is no image that can be read ({type(error).__name__})') from None
        with self._lock:
            self.pictures.append(Picture('your image', lambda: image))
            number = len(self.pictures) - 1
            old = number - UPLOADS
            if old >= self.fixed:
                self.pictures[old] = Picture('forgotten', _forgotten)
        return number

    def jpeg(self, number: int) -> bytes:
        """A picture, at most :data:`PICTURE` pixels long."""
        return shrunk_jpeg(self._picture(number).read())

    def view(self, number: int, title: str, method: str, reading: str, label: int | None = None) -> ShownMap:
        """Map, classes and truth of a picture.

        Args:
            number: of the picture.
            title: of the model.
            method: one of :data:`mmentropy.explain.METHODS`.
            reading: one of :data:`READINGS`.
            label: class; None takes the likeliest.

        Raises:
            ValueError: for what there is not, and for methods that the network has not.
        """
        if title not in self.models or method not in self.methods or reading not in self.readings:
            raise ValueError(f'there is no view by {title!r}, {method!r}, {reading!r}')
        picture, key = self._picture(number), (number, title, method, reading, label)
        with self._lock:
            if key not in self._views:
                self._views[key] = self._look(picture, title, method, reading, label)
                while len(self._views) > KEPT:
                    self._views.popitem(last=False)
            self._views.move_to_end(key)
            return self._views[key]

    def forget(self) -> None:
        """Keep no view: the next ones are computed anew."""
        with self._lock:
            self._views.clear()

    def _picture(self, number: int) -> Picture:
        if not 0 <= number < len(self.pictures):
            raise ValueError(f'there are {len(self.pictures)} pictures, and none of number {number}')
        return self.pictures[number]

    def _reader(self, title: str, reading: str) -> Localizer:
        """The same network, read in another way."""
        if (title, reading) not in self._readers:
            base = self.models[title]
            reader = Localizer(base.loaded.model, reading=reading, keep_entropy=True)
            reader.loaded = base.loaded
            self._readers[title, reading] = reader
        return self._readers[title, reading]

    def _look(self, picture: Picture, title: str, method: str, reading: str, label: int | None) -> ShownMap:
        image = picture.read()
        reader = self._reader(title, reading)
        # One pass through the network gives all of it: the classes, the map, the entropy.
        found = reader(image, classes=None if label is None else [label], method=method)[0]
        names = reader.classes or ()
        best = tuple(
            (number, names[number] if number < len(names) else str(number), float(score))
            for number, score in zip(found.ranking.tolist(), found.ranking_scores)
        )
        size = map_size(image.shape[:2])
        cam = upsample_map(found.maps[0], size, normalize='max', grid=found.grid)
        entropy, top, mean = None, 1.0, float('nan')
        if found.entropy is not None:
            top = float(found.entropy.max())
            if names:
                top = float(max_entropy(len(names), 'sigmoid' if reader.loaded.multi_label else 'softmax'))
            mean = float(found.entropy.mean())
            drawn = draw_maps(found.entropy, size, found.grid)
            entropy = (np.clip(drawn / max(top, 1e-12), 0, 1) * 255).round().astype(np.uint8)
        height, width = image.shape[:2]
        truth = picture.truth() / np.array([width, height] * 2, np.float32)
        return ShownMap(
            (height, width),
            int(found.labels[0]),
            best,
            (cam * 255).round().astype(np.uint8),
            entropy,
            top,
            own_threshold(cam, 'mean_share'),
            truth.astype(np.float32),
            mean,
        )


class ReportViews:
    """What a report holds, with the class and the reading that its run had.

    Args:
        data: of ``report.npz``.
        title: of the run.

    Raises:
        ValueError: if it shows no image.
    """

    methods: tuple[str, ...] = ('as stored',)
    readings: tuple[str, ...] = ('as stored',)

    def __init__(self, data: ReportData, title: str = 'run') -> None:
        self.samples = [sample for sample in data.samples if sample.thumb is not None and sample.cam is not None]
        if not self.samples:
            raise ValueError('the report shows no image with a map')
        self.titles, self.names, self.commands = [title], data.classes, {title: f'mmentropy report {title}'}
        self.pictures = [Picture(sample.name, lambda: _forgotten(), label=sample.label) for sample in self.samples]

    def classes(self, title: str) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.names)

    def add(self, data: bytes) -> int:
        """A report has no network.

        Raises:
            ValueError: always.
        """
        raise ValueError('a report has no network: start the explorer with a config and --weights to see your images')

    def jpeg(self, number: int) -> bytes:
        """The thumbnail."""
        return bytes(self._sample(number).thumb)

    def view(self, number: int, title: str, method: str, reading: str, label: int | None = None) -> ShownMap:
        """As stored: the true class's map."""
        sample = self._sample(number)
        with Image.open(io.BytesIO(sample.thumb)) as opened:
            height, width = opened.height, opened.width
        size = map_size((height, width))
        grid = HALF_PIXEL if sample.grid is None else MapGrid.from_array(sample.grid)
        cam = upsample_map(sample.cam.astype(np.float32), size, normalize='max', grid=grid)
        entropy, top, mean = None, 1.0, float('nan')
        if sample.entropy_map is not None:
            raw = sample.entropy_map.astype(np.float32)
            top, mean = float(np.log(max(2, len(self.names)))), float(raw.mean())
            drawn = draw_maps(raw, size, grid)
            entropy = (np.clip(drawn / top, 0, 1) * 255).round().astype(np.uint8)
        best = [(sample.prediction, self._name(sample.prediction), float(sample.score))]
        return ShownMap(
            (height, width),
            sample.label,
            tuple(best),
            (cam * 255).round().astype(np.uint8),
            entropy,
            top,
            own_threshold(cam, 'mean_share'),
            np.asarray(sample.boxes, np.float32).reshape(-1, 4),
            mean,
        )

    def _name(self, label: int) -> str:
        return self.names[label] if 0 <= label < len(self.names) else str(label)

    def _sample(self, number: int) -> Any:
        if not 0 <= number < len(self.samples):
            raise ValueError(f'there are {len(self.samples)} pictures, and none of number {number}')
        return self.samples[number]


class MapFolderViews:
    """The maps that ``mmentropy localize`` wrote, over their images.

    Args:
        folder: its ``--out-dir``, with ``maps/``.
        pictures: the images that they are of; others are left out.

    Raises:
        ValueError: if none of them has maps.
    """

    methods: tuple[str, ...] = ('as stored',)
    readings: tuple[str, ...] = ('as stored',)

    def __init__(self, folder: Path, pictures: Sequence[Picture]) -> None:
        files = {one.name: folder / 'maps' / f'{one.name}.npz' for one in pictures}
        self.pictures = [one for one in pictures if files[one.name].is_file()]
        if not self.pictures:
            raise ValueError(
                f'{folder}/maps has no map of these {len(pictures)} images: name those that were localised'
            )
        self.files, self.titles = files, [str(folder)]
        self.commands = {str(folder): f'mmentropy explore {folder}'}

    def classes(self, title: str) -> tuple[str, ...]:
        """Only those of an image are known."""
        return ()

    def add(self, data: bytes) -> int:
        """Maps have no network.

        Raises:
            ValueError: always.
        """
        raise ValueError('maps have no network: start the explorer with a config and --weights to see your images')

    def jpeg(self, number: int) -> bytes:
        """A picture, at most :data:`PICTURE` pixels long."""
        return shrunk_jpeg(self._picture(number).read())

    def view(self, number: int, title: str, method: str, reading: str, label: int | None = None) -> ShownMap:
        """As stored: of the likeliest class, or of one that was asked for then.

        Raises:
            ValueError: for a class without a map.
        """
        picture = self._picture(number)
        stored = load_npz(self.files[picture.name])
        labels, scores = stored['labels'].tolist(), stored['scores'].tolist()
        order = sorted(range(len(labels)), key=lambda i: -scores[i])
        chosen = labels[order[0]] if label is None else label
        if chosen not in labels:
            raise ValueError(f'{picture.name} has no map of class {chosen}; there are {", ".join(map(str, labels))}')
        height, width = stored['size'].tolist()
        grid = MapGrid.from_array(stored['grid']) if 'grid' in stored else HALF_PIXEL
        cam = upsample_map(stored['maps'][labels.index(chosen)], map_size((height, width)), normalize='max', grid=grid)
        return ShownMap(
            (height, width),
            chosen,
            tuple((labels[i], str(stored['class_names'][i]), scores[i]) for i in order[:BEST]),
            (cam * 255).round().astype(np.uint8),
            own=own_threshold(cam, 'mean_share'),
        )

    def _picture(self, number: int) -> Picture:
        if not 0 <= number < len(self.pictures):
            raise ValueError(f'there are {len(self.pictures)} pictures, and none of number {number}')
        return self.pictures[number]


def map_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the maps that are sent for an image of a size.

    >>> map_size((480, 640))
    (168, 224)
    """
    scale = MAP / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrunk_jpeg(image: np.ndarray) -> bytes:
    """An RGB image as JPEG, at most :data:`PICTURE` pixels long.

    >>> shrunk_jpeg(np.zeros((8, 8, 3), np.uint8))[:2] == bytes([0xFF, 0xD8])
    True
    """
    scale = PICTURE / max(image.shape[:2])
    if scale < 1:
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def _forgotten() -> np.ndarray:
    raise ValueError('this picture is not kept any more; drop it again')
