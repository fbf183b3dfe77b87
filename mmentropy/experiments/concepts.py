# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Concepts from words alone: a linear detector of each on generic features, and where in the images it looks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmentropy.experiments.analysis import FeatureReader, PlacedMaps, batches
from mmentropy.image_files import read_image
from mmentropy.ops.localizing.regions import Pattern, object_shares, rank_patterns
from mmentropy.ops.mapping.scaling import upsample_map
from mmentropy.visualization.panels import ComparisonRow, draw_comparison_grid

COLUMNS = ('image', 'concepts')


@dataclass(frozen=True)
class ConceptImage:
    """One row: an image, the words that belong to it, the objects in it (name, box), and its split.

    >>> ConceptImage('kitchen.jpg', ('kitchen', 'indoor')).split
    'train'
    """

    path: str
    words: tuple[str, ...]
    objects: tuple[tuple[str, tuple[float, ...]], ...] = ()
    split: str = 'train'


def read_concepts(path: str | Path, root: str | Path = '') -> list[ConceptImage]:
    """The rows of a CSV with the columns ``image`` and ``concepts``, and optionally ``objects`` and ``split``.

    ``concepts`` are words (or phrases) with ``;`` between them, none for an image that serves as a negative alone.
    ``objects`` are ``name x0 y0 x1 y1`` in pixels, with ``;`` between them. ``split`` is ``train`` (or empty) or
    ``test``.

    Raises:
        FileNotFoundError: for a CSV that is not there.
        ValueError: for a missing column or a malformed row, naming it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist; give a CSV with the columns image and concepts')
    reader = csv.DictReader(io.StringIO(Path(path).read_text(encoding='utf-8-sig')))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(
            f'{path}: there is no column {missing[0]!r}; the columns are {", ".join(COLUMNS)}, objects, split'
        )
    rows = []
    for row in reader:
        where = f'{path}:{reader.line_num}'
        split = (row.get('split') or 'train').strip()
        if not (row['image'] or '').strip() or split not in ('train', 'test'):
            raise ValueError(f"{where}: a row needs an image and the split 'train' or 'test', found {row}")
        words = tuple(dict.fromkeys(word.strip() for word in (row['concepts'] or '').split(';') if word.strip()))
        objects = tuple(_object(text, where) for text in (row.get('objects') or '').split(';') if text.strip())
        rows.append(ConceptImage(str(Path(root) / row['image'].strip()), words, objects, split))
    if not rows:
        raise ValueError(f'{path} holds no row')
    return rows


def _object(text: str, where: str) -> tuple[str, tuple[float, ...]]:
    *name, x0, y0, x1, y1 = text.split() if len(text.split()) >= 5 else [text, '', '', '', '']
    try:
        box = tuple(float(value) for value in (x0, y0, x1, y1))
    except ValueError:
        raise ValueError(f'{where}: an object is `name x0 y0 x1 y1`, found {text.strip()!r}') from None
    return ' '.join(name), box


@dataclass
class Detector:
    """A linear detector of a concept: score w·v + b of a feature vector v of length one.

    Attributes:
        weight, bias: (D,) and a number.
        positives, negatives: images that it learned from, in the end.
        rounds: of mining.

    >>> detector = Detector(np.array([1.0, 0.0]), bias=-0.5, positives=3, negatives=6, rounds=1)
    >>> detector.scores(np.array([[2.0, 0.0]])).tolist(), detector.map(np.array([[[3.0]], [[4.0]]])).tolist()
    ([0.5], [[3.0]])
    """

    weight: np.ndarray
    bias: float
    positives: int
    negatives: int
    rounds: int

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(N,) of features (N, D) of any length."""
        return unit(features) @ self.weight + self.bias

    def map(self, features: np.ndarray) -> np.ndarray:
        """(h, w) class activation map w·f_i of a feature map (D, h, w)."""
        return np.einsum('d,dhw->hw', self.weight, features)


def unit(features: np.ndarray) -> np.ndarray:
    """Vectors (N, D) brought to length one; zeros stay.

    >>> unit(np.array([[3.0, 4.0]])).tolist()
    [[0.6, 0.8]]
    """
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def fit_detector(
    features: np.ndarray, positive: np.ndarray, c: float = 1.0, rounds: int = 5, seed: int = 0
) -> Detector:
    """A linear SVM on the positives and mined hard negatives (as the CAM paper finds concepts and text).

    It starts with as many random negatives as there are positives. Each round adds the negatives that the detector
    scores above −1 (inside the margin), hardest first, at most as many as there are positives, until there are none.

    Args:
        features: (N, D).
        positive: (N,) bool.
        c: penalty of the SVM.
        rounds: of mining, at most.
        seed: of the first negatives.

    Raises:
        ImportError: without scikit-learn.
        ValueError: without a positive or a negative.
    """
    try:
        from sklearn.svm import LinearSVC
    except ImportError:
        raise ImportError('the linear SVM needs scikit-learn: run `pip install scikit-learn`') from None
    positive = np.asarray(positive, dtype=bool)
    if positive.all() or not positive.any():
        raise ValueError(
            f'a detector needs images with and without its concept, found {positive.sum()} of {len(positive)}'
        )
    x, pool = unit(features), np.flatnonzero(~positive)
    count = int(positive.sum())
    chosen = np.random.default_rng(seed).permutation(pool)[:count]
    for done in range(rounds + 1):
        index = np.concatenate([np.flatnonzero(positive), chosen])
        model = LinearSVC(C=c, random_state=seed).fit(x[index], positive[index])
        scores = x @ model.coef_[0] + model.intercept_[0]
        left = np.setdiff1d(pool, chosen)
        hard = left[scores[left] > -1]
        if done == rounds or not len(hard):
            break
        chosen = np.concatenate([chosen, hard[np.argsort(-scores[hard], kind='stable')][:count]])
    return Detector(model.coef_[0], float(model.intercept_[0]), count, len(chosen), done)


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Mean of the precision at each positive, per cent; equal scores keep their order.

    >>> average_precision(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]))  # (1 + 2/3) / 2
    83.33333333333333
    """
    hits = np.asarray(positive, dtype=bool)[np.argsort(-np.asarray(scores), kind='stable')]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(100 * precision[hits].mean())


@dataclass
class Concept:
    """What was found of a concept.

    Attributes:
        word: of the concept.
        detector: of it.
        precision: average precision in per cent; of the test rows where some have it, else of what it learned from.
        tested: whether those were test rows.
        objects: annotated objects by how often they meet the high region of its maps; (name, :class:`Pattern`).
        best: the images that it scores highest among its own, best first: (row, raw map and grid).

    >>> Concept('text', Detector(np.ones(2), 0.0, 1, 1, 0), precision=87.5, tested=False).objects
    []
    """

    word: str
    detector: Detector
    precision: float
    tested: bool
    objects: list[tuple[str, Pattern]] = field(default_factory=list)
    best: list[tuple[ConceptImage, PlacedMaps]] = field(default_factory=list)


def discover_concepts(
    reader: FeatureReader,
    rows: Sequence[ConceptImage],
    words: Sequence[str] | None = None,
    c: float = 1.0,
    threshold: float = 0.5,
    min_share: float = 0.0,
    images: int = 6,
    batch_size: int = 32,
) -> Iterator[Concept]:
    """Learn each concept, and look where its maps are high.

    Args:
        reader: of the network whose features are taken.
        rows: of :func:`read_concepts`.
        words: which concepts; None takes all.
        c: penalty of the SVM.
        threshold: of the high region, a share of the map's maximum.
        min_share: see :func:`~mmentropy.ops.localizing.regions.rank_patterns`.
        images: how many of the best images are kept.
        batch_size: images a forward pass.

    Raises:
        ValueError: for a word that no training row has.
    """
    vectors = np.concatenate([reader.vectors(_images(batch)) for batch in batches(rows, batch_size)])
    train = np.array([row.split == 'train' for row in rows])
    there = dict.fromkeys(word for row in rows for word in row.words if row.split == 'train')
    names = list(dict.fromkeys(name for row in rows for name, _ in row.objects))
    for word in words or there:
        if word not in there:
            raise ValueError(f'no training row has the concept {word!r}; there are {", ".join(list(there)[:8])}')
        positive = np.array([word in row.words for row in rows])
        detector = fit_detector(vectors[train], positive[train], c)
        scores = detector.scores(vectors)
        judged = ~train if positive[~train].any() else train
        found = Concept(word, detector, average_precision(scores[judged], positive[judged]), bool(judged[~train].any()))
        own = np.flatnonzero(positive)
        own = own[np.argsort(-scores[own], kind='stable')]
        seen = []
        for batch in batches([rows[i] for i in own], batch_size):
            for row, image, (features, grid) in zip(batch, _images(batch), reader.feature_maps(_images(batch))):
                cam = detector.map(features)
                if len(found.best) < images:
                    found.best.append((row, PlacedMaps(cam[None], grid)))
                if row.objects:
                    high = upsample_map(cam, image.shape[:2], normalize='max', grid=grid)
                    boxes, owners = (np.array(part) for part in zip(*((b, names.index(n)) for n, b in row.objects)))
                    seen.append(object_shares(high, boxes, owners, threshold))
        found.objects = [(names[row.label], row) for row in rank_patterns(seen, min_share)] if seen else []
        yield found


def _images(rows: Sequence[ConceptImage]) -> list[np.ndarray]:
    return [read_image(row.path, exif=False) for row in rows]


def draw_best(found: Concept, tile: int = 160) -> np.ndarray:
    """The best images of a concept, each beside its map and the box that is read from it; (height, width, 3), RGB."""
    rows = []
    for row, (maps, grid) in found.best:
        image = _images([row])[0]
        rows.append(ComparisonRow(image, {found.word: maps[0]}, title=Path(row.path).name, grids={found.word: grid}))
    return draw_comparison_grid(rows, tile, normalize='max')
