# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Score maps in files, made by any framework."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

import cv2
import numpy as np
import torch

from mmentropy.safe_files import load_arrays
from mmentropy.structures import CAM_LABELS, CAMS, GT_LABEL, MOST_CLASSES, PRED_LABEL, PRED_SCORE

MAP_SUFFIXES = ('.npy', '.npz', '.png')


class MapFolder:
    """A folder of ``<image_id>.npy``, ``.npz`` or ``.png``, with or without the image's own suffix and folders.

    For the id ``001.Albatross/a_1.jpg`` these names are looked for, in this order: ``001.Albatross/a_1.jpg.npy``,
    ``001.Albatross/a_1.npy``, ``a_1.jpg.npy``, ``a_1.npy``; the last two only if no other id has the same name.

    Args:
        folder: searched with all its sub-folders.
        image_ids: every id of the metadata.
    """

    def __init__(self, folder: str | Path, image_ids: Sequence[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f'{folder} is not a folder; give the one that holds the score maps')
        found: dict[str, Path] = {}
        for root, _, names in os.walk(self.folder):
            for name in sorted(names):
                path = Path(root, name)
                if path.suffix.lower() in MAP_SUFFIXES:
                    found.setdefault(path.relative_to(self.folder).with_suffix('').as_posix(), path)
        self.paths: dict[str, Path] = {}
        flat = [Path(image_id).stem for image_id in image_ids]
        alone = {name for name, number in zip(*np.unique(flat, return_counts=True)) if number == 1} if flat else set()
        for image_id, stem in zip(image_ids, flat):
            names = [image_id, str(Path(image_id).with_suffix('').as_posix())]
            if stem in alone:
                names += [Path(image_id).name, stem]
            for name in names:
                if name in found:
                    self.paths[image_id] = found[name]
                    break
        used = set(self.paths.values())
        #: Map files that belong to no id.
        self.strangers = sorted(path for path in found.values() if path not in used)

    def stamp(self) -> list[int]:
        """Number of maps and the youngest's time of writing: what must not change between a run and its resumption."""
        return [len(self.paths), max((path.stat().st_mtime_ns for path in self.paths.values()), default=0)]

    def read(self, image_id: str) -> np.ndarray:
        """(h, w) float32 map of one image, see :func:`read_map`; FileNotFoundError if there is none."""
        if image_id not in self.paths:
            raise FileNotFoundError('no map')
        return read_map(self.paths[image_id])


class OneMap:
    """The same map for every image: a baseline that does not look at it.

    Args:
        cam: (h, w).
    """

    strangers: tuple[Path, ...] = ()

    def __init__(self, cam: np.ndarray) -> None:
        self.cam = cam

    def stamp(self) -> list[int]:
        """Nothing that could change."""
        return []

    def read(self, image_id: str) -> np.ndarray:
        """The map."""
        return self.cam


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
    if path.suffix.lower() == '.png':
        try:
            cam = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        except cv2.error:  # a header that speaks of more pixels than OpenCV decodes
            cam = None
        if cam is None:
            raise ValueError(f'{path} cannot be decoded as a picture')
        if cam.dtype != np.uint8 or cam.ndim != 2:
            raise ValueError(f'{path} is not an 8-bit picture of one channel: {cam.dtype}, shape {cam.shape}')
        return cam.astype(np.float32) / 255
    cam = load_arrays(path)
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


def with_map(sample: dict, cam: np.ndarray, ranked: Sequence[int] | None = None) -> dict:
    """A ground-truth sample with a map that serves its class, and predictions from a ranking of classes.

    Fewer than five ranked classes say only whether the first is right.
    """
    sample = sample | {CAMS: torch.from_numpy(cam[None]), CAM_LABELS: np.array([-1])}
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
