# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One image a row, one way of looking at it a column: methods, readings or models side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mmentropy.explain.watching import run
from mmentropy.image_files import read_image
from mmentropy.ops.faithfulness.perturbation import perturbation_scores
from mmentropy.ops.mapping.scaling import upsample_map

from .images import iterate_images
from .localizer import THRESHOLD, Localization, Localizer

#: From an image (H, W, 3) uint8 RGB to its localisation.
Look = Callable[[np.ndarray], Localization]


def side_by_side(
    images: object,
    looks: Mapping[str, Look],
    tile: int = 240,
    threshold: float | str = THRESHOLD,
    exif: bool = True,
    note: Callable[[np.ndarray, Localization], str] | None = None,
) -> np.ndarray:
    """Maps and boxes of the best class, with its name and score.

    Args:
        images: a path, a folder, an array, or any iterable of these.
        looks: title of the column → what localises, say ``lambda image: localizer(image, method='grad_cam')[0]``.
        tile: longer side of a picture, in pixels.
        threshold: share of a map's maximum at which its box is cut, or a rule.
        exif: turn images upright, as the localizers do.
        note: what else to say of a localisation of an image, say its :func:`deletion_and_insertion`.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        ValueError, FileNotFoundError: for no images, or one that cannot be read.

    >>> one = Localization('', (8, 8), np.array([0]), ('cat',), np.array([0.9]), np.eye(4, dtype=np.float32)[None])
    >>> side_by_side(np.zeros((8, 8, 3), np.uint8), {'cam': lambda image: one}, tile=64).shape
    (112, 132, 3)
    """
    # Imported here: the panels bring Pillow's fonts and matplotlib's data path with them.
    from mmentropy.visualization.panels import ComparisonRow, draw_comparison_grid

    rows = []
    for name, source in iterate_images(images):
        image = read_image(source, exif)
        row = ComparisonRow(image, {}, title=name)
        for title, look in looks.items():
            found = look(image)
            row.maps[title], row.grids[title] = found.maps[0], found.grid
            told = '' if note is None else f' {note(image, found)}'
            row.captions[title] = f'{found.class_names[0]} {found.scores[0]:.2f}{told}'
        rows.append(row)
    return draw_comparison_grid(rows, tile, threshold=threshold, normalize='max')


def deletion_and_insertion(
    localizer: Localizer, image: np.ndarray, found: Localization, steps: int = 20
) -> tuple[float, float]:
    """How faithful the map of the first class is: the areas under its deletion and its insertion curve.

    Deletion is the better the lower, insertion the higher; see
    :func:`~mmentropy.ops.faithfulness.perturbation.perturbation_scores`.

    Args:
        localizer: which found it.
        image: (H, W, 3) uint8 RGB.
        found: its localisation, of a class.
        steps: of the curves.

    Returns:
        (deletion, insertion), shares; NaN for a constant map, which ranks no pixels, for a target that is no class, and
        for a segmentor, which gives no score of the image.
    """
    label, cam = int(found.labels[0]), found.maps[0]
    loaded = localizer.loaded
    inputs = loaded.inputs([image])
    with torch.no_grad():
        dense = run(loaded.model, inputs).ndim == 4
    if label < 0 or dense or float(np.ptp(cam)) == 0:
        return float('nan'), float('nan')
    size = (inputs.shape[2], inputs.shape[3])
    drawn = upsample_map(cam[None], size, normalize='minmax', grid=found.grid)
    curves = perturbation_scores(
        loaded.model,
        inputs,
        torch.from_numpy(drawn).to(inputs),
        torch.tensor([label], device=inputs.device),
        ('deletion', 'insertion'),
        steps,
        score='sigmoid' if loaded.multi_label else 'probability',
    )
    # Both were asked for, so both are there.
    return float(curves.deletion.area), float(curves.insertion.area)  # type: ignore[union-attr]


def compare_methods(
    localizer: Localizer,
    images: object,
    methods: Sequence[str],
    tile: int = 320,
    threshold: float | str = THRESHOLD,
    exif: bool = True,
    **asked: Any,
) -> np.ndarray:
    """Methods side by side, with deletion (del) and insertion (ins) of each map.

    Args:
        localizer: draws them.
        images: as in :func:`side_by_side`.
        methods: of :data:`mmentropy.explain.METHODS`, a column each.
        tile, threshold, exif: as in :func:`side_by_side`.
        **asked: of the localizer: ``classes``, ``targets``, ``region``.

    Returns:
        (height, width, 3) uint8, RGB.
    """

    def look(method: str) -> Look:
        return lambda image: localizer(image, method=method, **asked)[0]

    def note(image: np.ndarray, found: Localization) -> str:
        lost, gained = deletion_and_insertion(localizer, image, found)
        return '' if np.isnan(lost) else f'· del {lost:.2f} ins {gained:.2f}'

    return side_by_side(images, {method: look(method) for method in methods}, tile, threshold, exif, note)
