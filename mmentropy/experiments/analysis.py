# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the CAM paper does with maps and pooled features, on any data set that mmengine builds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mmentropy.engine.model_loading import LoadedModel, load_model
from mmentropy.explain import CAM, find_grid
from mmentropy.explain.watching import frozen, hooked, run
from mmentropy.image_files import read_image
from mmentropy.ops.localizing.map_boxes import boxes_from_map
from mmentropy.ops.localizing.regions import Pattern, keep_best, object_shares, rank_patterns, rank_units
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import upsample_map


def open_run(
    config: str | Path,
    weights: str | None,
    options: dict | None = None,
    trust_checkpoint: bool = False,
    random_weights: bool = False,
) -> tuple[FeatureReader, dict]:
    """A config's network, ready to be read, and its data sets before any transform.

    Args:
        config: config file.
        weights: checkpoint.
        options: config keys to override.
        trust_checkpoint: allow a checkpoint to hold arbitrary pickled objects.
        random_weights: go on without ``weights``: what the config's ``init_cfg`` does not load is random.

    Returns:
        the reader, and a dict: split (``train``, ``val``, ``test``) -> data set, built when asked for.
    """
    from mmentropy.engine import load_config, trust_checkpoints

    cfg = load_config(str(config), options)
    loaded = load_model(cfg, weights, trust_checkpoint=trust_checkpoint, random_weights=random_weights)
    if weights is None:
        if trust_checkpoint:
            trust_checkpoints(True)  # of the init_cfg, then
        network: Any = loaded.model
        network.init_weights()
    return FeatureReader(loaded), _DataSets(cfg)


def open_datasets(config: str | Path, options: dict | None = None) -> dict:
    """The data sets of a config, before any transform; see :func:`open_run`."""
    from mmentropy.engine import load_config

    return _DataSets(load_config(str(config), options))


class _DataSets(dict):
    """Data sets of a config, built on first use."""

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.cfg = cfg

    def __missing__(self, split: str) -> Any:
        from mmentropy.engine import build_dataset

        self[split] = build_dataset(self.cfg, split, pipeline=[])
        return self[split]


def class_number(name: str, classes: Sequence[str]) -> int:
    """A class given by name or by number."""
    if name in classes:
        return list(classes).index(name)
    if not name.isdigit() or int(name) >= len(classes):
        raise ValueError(f'{name!r} is neither a class name nor a number below {len(classes)}')
    return int(name)


@dataclass
class Photo:
    """One image of a data set with its annotation.

    Attributes:
        image: (H, W, 3) uint8, RGB, as the data set has it: pixels as stored, whatever the camera's EXIF tag says.
        labels: (m,) classes of the image.
        boxes: (n, 4) x0 y0 x1 y1, edges, in pixels of the image.
        box_labels: (n,) classes of the boxes.
        name: file, or number.
    """

    image: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    box_labels: np.ndarray
    name: str


def photos(dataset: Any, limit: int | None = None) -> Iterator[Photo]:
    """The images of a host's data set before any transform; with ``limit``, that many, evenly spread over it."""
    count = len(dataset)
    step = 1 if limit is None else max(1, -(-count // limit))
    for i in range(0, count, step):
        info = dataset.get_data_info(i)
        image = info['img'][..., ::-1] if 'img' in info else read_image(info['img_path'], exif=False)
        labels = np.ravel(info['gt_label']).astype(int)
        boxes = np.asarray(info.get('gt_bboxes', ()), dtype=np.float32).reshape(-1, 4)
        owners = np.ravel(info.get('gt_bbox_labels', [labels[0]] * len(boxes) if len(labels) else [])).astype(int)
        yield Photo(np.ascontiguousarray(image), labels, boxes, owners, str(info.get('img_path', i)))


def batches(items: Iterable, size: int) -> Iterator[list]:
    """Lists of at most ``size`` items."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


class PlacedMaps(NamedTuple):
    """Raw maps (K, h, w) of an image, and where their locations look; None where they tile it."""

    maps: np.ndarray
    grid: MapGrid | None


def placed(maps: torch.Tensor, grid: MapGrid | None) -> list[PlacedMaps]:
    """Those of each image of a batch (N, K, h, w)."""
    return [PlacedMaps(one, grid) for one in maps.float().cpu().numpy()]


class FeatureReader:
    """Features of a network with a linear classifier: the vector that the classifier reads, whatever pools it.

    Args:
        loaded: the network.

    Raises:
        ValueError: when it has no linear classifier.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> reader = FeatureReader(LoadedModel(nn.Sequential(*layers), size=(16, 16)))
    >>> photo = np.zeros((20, 30, 3), np.uint8)
    >>> reader.weight.shape, reader.vectors([photo]).shape, reader.feature_maps([photo])[0].maps.shape
    ((5, 8), (1, 8), (8, 14, 14))
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.explainer = loaded, CAM(loaded.model)
        self.explainer(loaded.example())
        classifier = self.explainer.anatomy.classifier if self.explainer.anatomy else None
        if classifier is None:
            raise ValueError(f'{type(loaded.model).__name__} has no linear classifier whose inputs could be read')
        self.classifier = classifier

    @property
    def weight(self) -> np.ndarray:
        """(C, D) of the classifier."""
        return self.classifier.weight.detach().cpu().numpy()

    def vectors(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) pooled features of RGB images of any size."""
        kept: list = []
        handle = self.classifier.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))

        def read(inputs: torch.Tensor) -> np.ndarray:
            run(self.loaded.model, inputs)
            return kept.pop().float().cpu().numpy()

        with hooked([handle]), frozen(self.loaded.model), torch.no_grad():
            return np.stack(self.loaded.each(images, read))

    def gap_vectors(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) means of the last feature map over its locations, whatever the network pools by."""
        return np.stack([one.maps.mean((1, 2)) for one in self.feature_maps(images)])

    def feature_maps(self, images: Sequence[np.ndarray]) -> list[PlacedMaps]:
        """A (D, h, w) feature map of each image."""

        def read(inputs: torch.Tensor) -> list[PlacedMaps]:
            grid = find_grid(self.loaded.model, self.explainer.anatomy, inputs)
            return placed(self.explainer.features(inputs)[0], grid)

        with frozen(self.loaded.model), torch.no_grad():
            return self.loaded.each(images, read)

    def class_maps(self, images: Sequence[np.ndarray]) -> list[PlacedMaps]:
        """The (C, h, w) raw maps of all classes, of each image."""
        return self.loaded.each(images, lambda inputs: placed(*self._maps_and_grid(inputs, None)))

    def best_maps(self, images: Sequence[np.ndarray]) -> list[PlacedMaps]:
        """The (1, h, w) raw map of the predicted class, of each image."""
        return self.loaded.each(
            images, lambda inputs: placed(*self._maps_and_grid(inputs, lambda logits: logits.argmax(1)))
        )

    def _maps_and_grid(self, inputs: torch.Tensor, classes: Callable | None) -> tuple[torch.Tensor, MapGrid | None]:
        explanation = self.explainer(inputs, classes)
        return explanation.maps, explanation.grid


def crop(image: np.ndarray, box: np.ndarray | None, context: float = 0.0) -> np.ndarray:
    """The image inside a box (x0 y0 x1 y1, edges), widened by a share of its sides; the whole image without one."""
    if box is None:
        return image
    height, width = image.shape[:2]
    grow = context * np.array([box[2] - box[0], box[3] - box[1]]) / 2
    x0, y0 = np.floor(np.clip(box[:2] - grow, 0, (width - 1, height - 1))).astype(int)
    x1, y1 = np.ceil(np.clip(box[2:] + grow, (x0 + 1, y0 + 1), (width, height))).astype(int)
    return image[y0:y1, x0:x1]


def _map_boxes(cam: np.ndarray, grid: MapGrid | None, photo: Photo, threshold: float, normalize: str) -> np.ndarray:
    """The (0 or 1, 4) box of a raw map's largest component, edges, in pixels of the image."""
    return boxes_from_map(upsample_map(cam, photo.image.shape[:2], normalize=normalize, grid=grid), threshold)


def full(reader: FeatureReader, batch: Sequence[Photo]) -> list[np.ndarray]:
    """The whole images."""
    return [photo.image for photo in batch]


def by_cam(
    reader: FeatureReader, batch: Sequence[Photo], threshold: float = 0.2, normalize: str = 'max'
) -> list[np.ndarray]:
    """Crops by the box of the predicted class's map: no annotation is used.

    Args:
        reader: of the network.
        batch: images.
        threshold: share of the map's maximum; 0.2 in the CAM paper.
        normalize: ``max`` for that; ``minmax`` for a share of the height above the map's minimum, see
            :func:`mmentropy.ops.mapping.scaling.normalize_map`.
    """
    maps = reader.best_maps([photo.image for photo in batch])
    boxes = [_map_boxes(one.maps[0], one.grid, photo, threshold, normalize) for one, photo in zip(maps, batch)]
    return [crop(photo.image, box[0] if len(box) else None) for photo, box in zip(batch, boxes)]


def by_truth(reader: FeatureReader, batch: Sequence[Photo]) -> list[np.ndarray]:
    """Crops by the (first) true box."""
    return [crop(photo.image, photo.boxes[0] if len(photo.boxes) else None) for photo in batch]


#: The three rows of the fine-grained table.
CROPS: dict[str, Callable] = {'full image': full, 'crop by the CAM box': by_cam, 'crop by the true box': by_truth}


#: Which vectors of an image a probe learns from: what the classifier reads, or global average pooling.
VECTORS: dict[str, Callable] = {'classifier': FeatureReader.vectors, 'gap': FeatureReader.gap_vectors}


def dataset_features(
    reader: FeatureReader, items: Iterable[Photo], view: Callable = full, batch_size: int = 32, kind: str = 'classifier'
) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) features (of :data:`VECTORS`) and (N,) first labels of a data set, seen through one of :data:`CROPS`."""
    features, labels = [], []
    for batch in batches(items, batch_size):
        features.append(VECTORS[kind](reader, view(reader, batch)))
        labels += [int(photo.labels[0]) for photo in batch]
    if not features:
        raise ValueError('the data set is empty: nothing to read features of')
    return np.concatenate(features), np.array(labels)


def linear_svm(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], c: float = 1.0, seed: int = 0
) -> float:
    """Accuracy (per cent) on ``test`` of a linear SVM trained on ``train``; features are brought to length one first.

    Raises:
        ImportError: without scikit-learn.
    """
    try:
        from sklearn.svm import LinearSVC
    except ImportError:
        raise ImportError('the linear SVM needs scikit-learn: run `pip install scikit-learn`') from None
    (x, y), (x_test, y_test) = train, test
    x, x_test = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (x, x_test))
    model = LinearSVC(C=c, random_state=seed).fit(x, y)
    return float(100 * (model.predict(x_test) == y_test).mean())


@dataclass
class Excitation:
    """Where a unit is most excited in one image: its value there, the image, and the box around it (edges, pixels)."""

    value: float
    image: np.ndarray
    box: np.ndarray
    name: str


def class_units(
    reader: FeatureReader,
    items: Iterable[Photo],
    label: int,
    units: int = 5,
    images: int = 6,
    threshold: float = 0.5,
    batch_size: int = 32,
    normalize: str = 'max',
) -> list[tuple[int, float, list[Excitation]]]:
    """The units with the largest weight for a class, and the image regions that excite each most.

    Args:
        reader: of the network.
        items: images to search.
        label: the class.
        units, images: how many units, and regions each.
        threshold: a region is the largest component above this share of the unit's maximum in that image.
        batch_size: images a forward pass.
        normalize: ``max`` for that share; ``minmax`` for one of the height above the unit's minimum.

    Returns:
        (unit, weight, regions best first) of each unit.
    """
    ranked = rank_units(reader.weight, label, units)
    # Of each unit: its highest values, and (its map, the map's grid, the image) of each.
    best: list[tuple[np.ndarray, list]] = [(np.zeros(0), []) for _ in ranked]
    for batch in batches(items, batch_size):
        maps = [(one.maps[ranked], one.grid) for one in reader.feature_maps([photo.image for photo in batch])]
        for k in range(len(ranked)):
            seen = [(chosen[k], grid, photo) for (chosen, grid), photo in zip(maps, batch)]
            best[k] = keep_best(*best[k], np.array([cam.max() for cam, _, _ in seen]), seen, images)
    strongest = []
    for unit, (values, seen) in zip(ranked.tolist(), best):
        regions = []
        for value, (cam, grid, photo) in zip(values.tolist(), seen):
            boxes = _map_boxes(cam, grid, photo, threshold, normalize)
            whole = np.array([0, 0, photo.image.shape[1], photo.image.shape[0]], np.float32)
            regions.append(Excitation(value, photo.image, boxes[0] if len(boxes) else whole, photo.name))
        strongest.append((unit, float(reader.weight[label, unit]), regions))
    return strongest


def discover_patterns(
    reader: FeatureReader,
    items: Iterable[Photo],
    threshold: float = 0.5,
    batch_size: int = 32,
    normalize: str = 'max',
    min_share: float = 0.0,
) -> dict[int, list[Pattern]]:
    """For each class, the annotated objects that overlap most frequently with the high region of its map.

    Every image counts for the classes that it is labelled with.

    Args:
        reader: of the network.
        items: images with boxes.
        threshold: the region lies above this share of the map's maximum.
        batch_size: images a forward pass.
        normalize: ``max`` for that share; ``minmax`` for one of the height above the map's minimum.
        min_share: see :func:`mmentropy.ops.localizing.regions.rank_patterns`.

    Returns:
        class -> its objects, most frequent first.
    """
    seen: dict[int, list[dict[int, float]]] = {}
    for batch in batches(items, batch_size):
        for photo, (maps, grid) in zip(batch, reader.class_maps([photo.image for photo in batch])):
            for label in photo.labels.tolist():
                cam = upsample_map(maps[label], photo.image.shape[:2], normalize=normalize, grid=grid)
                seen.setdefault(label, []).append(object_shares(cam, photo.boxes, photo.box_labels, threshold))
    return {label: rank_patterns(images, min_share) for label, images in sorted(seen.items())}
