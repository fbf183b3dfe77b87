# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks of another program, SAM's say, vote on the scores of their pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmentropy.ops.refining.proposals import decode_run_lengths, vote
from mmentropy.registry import STAGES

from .files import ImageMaps
from .refine import Refiner, at_image_size
from .stage import Context

HINT = 'write it again with the program that made it'


def read_proposals(folder: Path, key: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Class-agnostic masks of one image.

    ``KEY.json`` holds SAM's list of ``segmentation`` (COCO run lengths, ``size`` and ``counts``), with a quality in
    ``predicted_iou`` where it is given, alone or as COCO's ``annotations``; ``KEY.png`` has one channel, each value but
    0 a mask; a folder ``KEY`` has a PNG a mask, white inside.

    Args:
        folder: where they lie.
        key: of the image.
        size: (height, width) of the image.

    Returns:
        (M, H, W) bool masks and (M,) float32 quality.

    Raises:
        FileNotFoundError: where the image has no file.
        ValueError: for a file that is damaged or of another size.
    """
    path = proposal_file(folder, key)
    if path is None:
        raise FileNotFoundError(f'{folder}: no masks of {key}; expected {key}.json, {key}.png or a folder {key}')
    if path.suffix == '.json':
        found = _from_json(path)
    elif path.is_dir():
        found = [(_pixels(file) > 0, 1.0) for file in sorted(path.glob('*.png'))]
    else:
        values = _pixels(path)
        found = [(values == value, 1.0) for value in np.unique(values[values > 0])]
    if not found:
        raise ValueError(f'{path}: no mask in it')
    for mask, _ in found:
        if mask.shape != tuple(size):
            raise ValueError(f'{path}: a mask has size {mask.shape}, the image {tuple(size)}')
    return np.stack([mask for mask, _ in found]), np.array([quality for _, quality in found], np.float32)


def proposal_file(folder: Path, key: str) -> Path | None:
    """Where the masks of an image lie."""
    return next((path for name in (f'{key}.json', f'{key}.png', key) if (path := folder / name).exists()), None)


def _pixels(path: Path) -> np.ndarray:
    """(H, W) values of a PNG with one channel, palette indices as they are."""
    try:
        with Image.open(path) as image:
            values = np.array(image)
    except Exception:  # Pillow's decoders raise many kinds
        raise ValueError(f'{path}: it cannot be decoded; {HINT}') from None
    if values.ndim != 2:
        raise ValueError(f'{path}: found {values.ndim} axes; a file of masks has one channel')
    return values


def _from_json(path: Path) -> list[tuple[np.ndarray, float]]:
    try:
        content: Any = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is not JSON ({error}); {HINT}') from None
    content = content.get('annotations', content) if isinstance(content, dict) else content
    found = []
    try:
        for one in content:
            runs = one['segmentation']
            mask = decode_run_lengths(runs['counts'], (int(runs['size'][0]), int(runs['size'][1])))
            found.append((mask, float(one.get('predicted_iou', 1.0))))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(
            f'{path}: mask {len(found)} is no run length of COCO ({type(error).__name__}: {error}); {HINT}'
        ) from None
    return found


@STAGES.register_module()
class ProposalVote(Refiner):
    """Class-agnostic masks on disk vote by the scores in them; see :mod:`mmentropy.ops.refining.proposals`.

    Args:
        name, source: see :class:`Stage`.
        masks: folder of the files, see :func:`read_proposals`.
        power: p of a mask's weight; 0.5 lets a mask of a quarter of the area count twice.
        share: of the vote in the new scores, the rest is the former ones; where no mask is, they stay.
        min_quality: masks below are passed over.

    >>> STAGES.build(dict(type='ProposalVote', source='seed', masks='data/sam')).name
    'vote'
    """

    SECONDS = 0.2

    def __init__(
        self,
        name: str = 'vote',
        source: str | None = None,
        masks: str = 'data/proposals',
        power: float = 0.5,
        share: float = 1.0,
        min_quality: float = 0.0,
    ) -> None:
        super().__init__(name, source)
        if not 0 <= share <= 1:
            raise ValueError(f'{name}: share is that of the vote in the scores, in [0, 1], got {share}')
        self.masks, self.power, self.share, self.min_quality = Path(masks), power, share, min_quality

    def made_from(self, ctx: Context, key: str) -> list[Path]:
        path = proposal_file(self.masks, key)
        files = [] if path is None else sorted(path.glob('*.png')) if path.is_dir() else [path]
        return [*super().made_from(ctx, key), *files]

    def refine(self, ctx: Context, key: str, scores: ImageMaps, image: np.ndarray) -> np.ndarray:
        masks, quality = read_proposals(self.masks, key, scores.size)
        before = at_image_size(scores)
        voted, _ = vote(before, masks, quality * (quality >= self.min_quality), self.power)
        return self.share * voted + (1 - self.share) * before
