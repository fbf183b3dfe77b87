# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Hide-and-Seek: random cells of a grid are hidden in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmentropy.ops.erasing.image_erasing import hide_cells
from mmentropy.registry import TRANSFORMS


@TRANSFORMS.register_module()
class HideAndSeek(BaseTransform):
    """Hide each cell of a grid with a probability, so that the whole object has to be learned (Singh and Lee, 2017).

    The hidden cells get the training set's mean, which a normalised image has as 0 (up to rounding to whole levels).
    Place it last, before the sample is packed; ``gt_mask`` and boxes stay as they are.

    Args:
        mean: the training set's mean colour, in the order of the config's ``data_preprocessor.mean``.
        grid: cells a side, or several such numbers of which each image draws one.
        prob: that a cell is hidden, in [0, 1]; 0 draws no random number and passes the image unchanged.
        to_rgb: whether ``mean`` is RGB, as in ``data_preprocessor``; images are BGR here.

    >>> transform = HideAndSeek(mean=(123, 117, 104), grid=2, prob=1.0)  # RGB; images are BGR
    >>> transform({'img': np.zeros((4, 4, 3), np.uint8)})['img'][0, 0].tolist()
    [104, 117, 123]
    """

    def __init__(
        self, mean: Sequence[float], grid: int | Sequence[int] = 4, prob: float = 0.5, to_rgb: bool = True
    ) -> None:
        grids = (grid,) if isinstance(grid, int) else tuple(grid)
        if not grids or any(cells < 1 for cells in grids):
            raise ValueError(f'HideAndSeek: grid is a number of cells a side, at least 1, or several; got {grid!r}')
        if not 0 <= prob <= 1:
            raise ValueError(f'HideAndSeek: prob must be in [0, 1], got {prob}')
        self.grids, self.prob = grids, prob
        self.fill = tuple(mean)[::-1] if to_rgb else tuple(mean)

    def transform(self, results: dict) -> dict:
        """Hide cells of ``img``."""
        if self.prob == 0:
            return results
        # The hosts seed numpy's global generator in every data worker.
        cells = self.grids[0] if len(self.grids) == 1 else self.grids[np.random.randint(len(self.grids))]  # noqa: NPY002
        hidden = np.random.random_sample((cells, cells)) < self.prob  # noqa: NPY002
        results['img'] = hide_cells(results['img'], hidden, self.fill)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(grid={self.grids}, prob={self.prob}, fill={self.fill})'
