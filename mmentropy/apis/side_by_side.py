# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One image a row, one way of looking at it a column: methods, readings or models side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mmentropy.image_files import read_image

from .images import iterate_images
from .localizer import THRESHOLD, Localization

#: From an image (H, W, 3) uint8 RGB to its localisation.
Look = Callable[[np.ndarray], Localization]


def side_by_side(
    images: object, looks: Mapping[str, Look], tile: int = 240, threshold: float | str = THRESHOLD, exif: bool = True
) -> np.ndarray:
    """Maps and boxes of the best class, with its name and score.

    Args:
        images: a path, a folder, an array, or any iterable of these.
        looks: title of the column → what localises, say ``lambda image: localizer(image, method='grad_cam')[0]``.
        tile: longer side of a picture, in pixels.
        threshold: share of a map's maximum at which its box is cut, or a rule.
        exif: turn images upright, as the localizers do.

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
            row.captions[title] = f'{found.class_names[0]} {found.scores[0]:.2f}'
        rows.append(row)
    return draw_comparison_grid(rows, tile, threshold=threshold, normalize='max')
