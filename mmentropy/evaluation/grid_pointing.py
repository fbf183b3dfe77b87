# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Grid pointing: whether a class map points at the right tile of a mosaic, where the centre says nothing."""

from __future__ import annotations

import numpy as np

from mmentropy.ops.localizing.protocol import current_localizer, grid_pointing
from mmentropy.registry import METRICS

from .counting import UNIT, CountingMetric, Counts, fixed
from .samples import Case


@METRICS.register_module()
class GridPointingMetric(CountingMetric):
    """Mean share (in per cent) of the positive part of the raw map that falls into the query class's tile.

    Reads ``tile_bbox`` (4,) of each mosaic, x0 y0 x1 y1 in pixels of the mosaic, and ``ori_shape``. Chance is
    100 / k² on k×k mosaics. A map without a positive value points nowhere: it counts as 0, and ``grid_empty`` gives
    the share of such images. See :func:`mmentropy.ops.localizing.protocol.grid_pointing`.

    Args:
        localizer: the map, see :func:`mmentropy.ops.localizing.protocol.localization_map`; not ``certainty``, which is
            never positive.
        grid: ``sample`` draws maps where the model says that their locations look (``map_grid``); ``half_pixel`` as
            ``cv2.resize`` does whatever it says, for comparison with published figures.

    >>> metric = GridPointingMetric()
    >>> mosaic = {'gt_label': [1], 'tile_bbox': [4, 0, 8, 4], 'ori_shape': (4, 8)}  # the right half
    >>> metric.process(None, [{**mosaic, 'cams': [[[1.0, 3.0]]], 'cam_labels': [1]}])
    >>> metric.evaluate(size=1)
    {'wsol/grid_pointing': 75.0, 'wsol/grid_empty': 0.0}
    """

    def __init__(
        self,
        localizer: str = 'cam',
        grid: str = 'sample',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, grid=grid)
        self.localizer = current_localizer(localizer)
        if self.localizer == 'certainty':
            raise ValueError(f"localizer={localizer!r} is never positive and has no mass; use 'weight'")

    def count_case(self, case: Case) -> Counts:
        """The share of one mosaic, in fixed point."""
        share = grid_pointing(case.localizing_map(case.label, self.localizer), case.tile, case.size, case.grid)
        return {'images': np.array(1), 'share': fixed(share or 0.0), 'empty': np.array(share is None)}

    def figures(self, totals: Counts) -> dict[str, float]:
        """Percentages."""
        return {
            'grid_pointing': float(100 * (totals['share'] / UNIT) / totals['images']),
            'grid_empty': float(100 * totals['empty'] / totals['images']),
        }
