# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Where a class map's mass lies: on the discriminative part, the rest of the object, the background."""

from __future__ import annotations

import numpy as np

from mmentropy.ops.localizing.pixel_metrics import mass_shares
from mmentropy.ops.localizing.protocol import current_localizer
from mmentropy.registry import METRICS

from .counting import UNIT, CountingMetric, Counts, fixed
from .samples import Case

REGIONS = ('part', 'object', 'background')


@METRICS.register_module()
class PartCoverageMetric(CountingMetric):
    """Mean shares (per cent) of the positive part of the raw map, and of the image's area, on three regions.

    ``mass_part``, ``mass_object`` (the object without the part) and ``mass_background`` sum to 100; ``area_…`` are what
    a constant map would get. A map without a positive value has no mass: it is left out, and counted in ``mass_empty``.

    Args:
        localizer: the map, see :func:`mmentropy.ops.localizing.protocol.localization_map`; not ``certainty``, which is
            never positive.
        interpolation: how the raw map is enlarged to the masks before its positive part is taken.
        grid: ``sample`` draws maps where the model says that their locations look (``map_grid``); ``half_pixel`` as
            ``cv2.resize`` does whatever it says, for comparison with published figures.

    >>> metric = PartCoverageMetric()
    >>> truth = {'gt_label': [0], 'gt_mask': [[1, 1, 0, 0]], 'part_mask': [[1, 0, 0, 0]]}
    >>> metric.process(None, [{**truth, 'cams': [[[2.0, 1.0, 1.0, 0.0]]], 'cam_labels': [0]}])
    >>> result = metric.evaluate(size=1)
    >>> result['wsol/mass_part'], result['wsol/mass_object'], result['wsol/area_part']
    (50.0, 25.0, 25.0)
    """

    def __init__(
        self,
        localizer: str = 'cam',
        interpolation: str = 'bilinear',
        grid: str = 'sample',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, grid=grid)
        self.localizer = current_localizer(localizer)
        if self.localizer == 'certainty':
            raise ValueError(f"localizer={localizer!r} is never positive and has no mass; use 'weight'")
        self.interpolation = interpolation

    def count_case(self, case: Case) -> Counts:
        """The shares of one image, in fixed point."""
        mask, part = case.mask, case.part_mask
        if part.shape != mask.shape:
            raise ValueError(f'part_mask {part.shape} and gt_mask {mask.shape} differ in shape')
        cam = case.drawn_map(case.label, self.localizer, mask.shape, self.interpolation)
        shares = mass_shares(cam, mask, part)
        counts = {'images': np.array(1), 'empty': np.array(shares is None)}
        if shares is not None:
            area = mass_shares(np.ones(mask.shape), mask, part)
            counts['mass'] = np.array([fixed(share) for share in shares])
            counts['area'] = np.array([fixed(share) for share in area])
        return counts

    def figures(self, totals: Counts) -> dict[str, float]:
        """Percentages; no shares if no map has any mass."""
        images = totals['images'] - totals['empty']
        results = {'mass_empty': int(totals['empty'])}
        for kind in ('mass', 'area'):
            if kind in totals:
                shares = 100 * (totals[kind] / UNIT) / images
                results |= {f'{kind}_{region}': float(share) for region, share in zip(REGIONS, shares)}
        return results
