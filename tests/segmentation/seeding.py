# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Seeds of one image, as a pipeline makes them."""

from __future__ import annotations

from pathlib import Path

from mmentropy.segmentation import Context, ImageMaps, Seed


def seeds(voc, folder: Path, key: str, **options) -> ImageMaps:
    Seed(source='maps', **options).process(Context(folder, voc), key)
    return ImageMaps.load(folder / f'seed/{key}.npz')
