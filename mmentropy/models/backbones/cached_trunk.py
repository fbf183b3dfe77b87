# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What stands in a model's place for a frozen backbone whose features are read from a cache."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.registry import MODELS


@MODELS.register_module()
class CachedTrunk(BaseModule):
    """Gives the features that it gets, in float32, and says where they look.

    ``tools/cache_features.py`` writes configs with it; it has no parameters, so checkpoints hold the head alone.

    Args:
        channels: D of the features.
        grids: where maps look in the images that the trunk saw, one for each size of map: ``dict(map=(h, w), start=,
            step=, size=)`` as in :class:`~mmentropy.ops.mapping.geometry.MapGrid`. Maps of other sizes are half-pixel.
        fingerprint: of the trunk that made the features; see :mod:`mmentropy.engine.feature_cache`.

    >>> import torch
    >>> trunk = CachedTrunk(channels=8, grids=[dict(map=(4, 4), start=(0, 0), step=(16, 16), size=(64, 64))])
    >>> trunk(torch.zeros(1, 8, 4, 4, dtype=torch.float16))[0].dtype, trunk.declared_grid((4, 4)).step
    (torch.float32, (16.0, 16.0))
    """

    def __init__(self, channels: int, grids: Sequence[dict] = (), fingerprint: str = '') -> None:
        super().__init__()
        self.feat_dim, self.fingerprint = channels, fingerprint
        self._grids = {tuple(one['map']): MapGrid(one['start'], one['step'], one['size']) for one in grids}

    def declared_grid(self, size: tuple[int, int]) -> MapGrid | None:
        """Where a map of this size looks; None is half-pixel."""
        return self._grids.get(tuple(size), HALF_PIXEL)

    def forward(self, features: Tensor) -> tuple[Tensor]:
        """(N, D, h, w) features as they were read."""
        if features.ndim != 4 or features.shape[1] != self.feat_dim:
            raise ValueError(f'features of a cache are (N, {self.feat_dim}, h, w), got {tuple(features.shape)}')
        return (features.float(),)
