# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The files that travel between stages: written whole or not at all, read with errors that name them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmentropy.image_files import read_image
from mmentropy.ops.seeding.seeds import to_probabilities
from mmentropy.safe_files import load_npz, write_whole


@dataclass
class ImageMaps:
    """Maps of one image.

    Attributes:
        labels: (K,) int64 classes from 0.
        maps: (K, h, w) float32 class maps, or with ``background`` (K + 1, h, w) scores, background first.
        size: (height, width) of the image.
        entropy: (h, w) float32 location entropy in nats, or None.
        background: whether ``maps[0]`` is the background.

    >>> scores = ImageMaps(np.array([3]), np.array([[[0.5]], [[1.5]]]), size=(2, 2), background=True)
    >>> scores.save(Path('a.npz'))
    >>> ImageMaps.load(Path('a.npz')).probabilities().tolist()
    [[[0.25]], [[0.75]]]
    """

    labels: np.ndarray
    maps: np.ndarray
    size: tuple[int, int]
    entropy: np.ndarray | None = None
    background: bool = False

    def save(self, path: Path) -> None:
        """A plain compressed npz with float16 maps; readable with ``numpy.load`` alone."""
        entropy = {} if self.entropy is None else {'entropy': self.entropy.astype(np.float16)}
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            labels=np.asarray(self.labels, np.int64),
            maps=self.maps.astype(np.float16),
            size=np.asarray(self.size, np.int64),
            background=self.background,
            **entropy,
        )
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> ImageMaps:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not such a file.
        """
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no maps of this image; run the stage that writes them')
        try:
            fields = load_npz(path)
            labels, maps, background = fields['labels'], fields['maps'], bool(fields['background'])
            height, width = (int(side) for side in fields['size'])
            entropy = fields['entropy'].astype(np.float32) if 'entropy' in fields else None
            if labels.ndim != 1 or labels.dtype.kind not in 'iu' or maps.dtype.kind != 'f':
                raise ValueError(f'labels are {labels.dtype} {labels.shape}, maps {maps.dtype}')
            if maps.ndim != 3 or len(maps) != len(labels) + background:
                raise ValueError(f'{len(labels)} labels, but maps of shape {maps.shape}')
            return cls(labels, maps.astype(np.float32), (height, width), entropy, background)
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f'{path}: not a map file of ours ({error}); remove it and run its stage again') from None

    def probabilities(self) -> np.ndarray:
        """(K + 1, h, w) scores that sum to one at each location."""
        if not self.background:
            raise ValueError('class maps without a background; a seed stage adds it')
        return to_probabilities(self.maps)


def read_grey(path: Path, size: tuple[int, int], what: str) -> np.ndarray:
    """(H, W) float32 in [0, 1] of a grey image with 8 bits, white where much is.

    Args:
        path: of the image.
        size: (height, width) of the image that it belongs to.
        what: the file is, for messages: ``saliency map``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, has colours, or another size than the image.
    """
    pixels = read_image(path, exif=False)
    if pixels.shape[:2] != tuple(size):
        raise ValueError(f'{path}: the {what} has size {pixels.shape[:2]}, the image {tuple(size)}')
    if (pixels != pixels[..., :1]).any():
        raise ValueError(f'{path}: found colours; a {what} is a grey image, white where much is')
    return pixels[..., 0].astype(np.float32) / 255


def write_list(path: Path, lines: Iterable[str]) -> None:
    """A text file, one entry a line."""
    write_whole(path, ''.join(f'{line}\n' for line in lines).encode())
