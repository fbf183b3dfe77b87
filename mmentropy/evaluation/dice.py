# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Dice of foreground and background per image, and the classification error: the min-max entropy papers' figures."""

from __future__ import annotations

import numpy as np

from mmentropy.ops.localizing.pixel_metrics import dice_scores
from mmentropy.ops.mapping.scaling import normalize_map
from mmentropy.registry import METRICS
from mmentropy.structures import PRED_LABEL

from .counting import UNIT, CountingMetric, Counts, fixed
from .samples import Case
from .thresholds import check_threshold


@METRICS.register_module()
class DiceMetric(CountingMetric):
    """F1⁺ and F1⁻ at a fixed threshold, per image, then the mean; and the classification error.

    What the min-max papers report (Belharbi et al., IEEE TMI 2022); see docs/methods/minmax.md.

    Reads the map of the ground-truth class, or the one labelled −1 (a class-agnostic mask), at the resolution of
    ``gt_mask``. Images without a foreground pixel are left out of ``F1+``, those without a background pixel out of
    ``F1-``; ``dice_empty`` counts both. ``error`` is left out without ``pred_label``. Results are per cent.

    Args:
        threshold: a pixel is foreground if its value is at least this; 0.5 for masks that are probabilities.
        normalize: min-max normalise the map first: for class maps, which are no probabilities.
        interpolation: how a map is enlarged to the mask.
        grid: ``sample`` draws maps where the model says that their locations look (``map_grid``); ``half_pixel`` as
            ``cv2.resize`` does whatever it says, for comparison with published figures.

    >>> metric = DiceMetric(threshold=0.5)
    >>> mask = {'cams': [[[0.9, 0.8, 0.7, 0.1]]], 'cam_labels': [-1]}  # class-agnostic
    >>> metric.process(None, [{'gt_label': [3], 'gt_mask': [[1, 0, 0, 0]], **mask}])
    >>> metric.evaluate(size=1)
    {'wsol/F1+': 50.0, 'wsol/F1-': 50.0, 'wsol/dice_empty': 0}
    """

    def __init__(
        self,
        threshold: float = 0.5,
        normalize: bool = False,
        interpolation: str = 'bilinear',
        grid: str = 'sample',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, grid=grid)
        self.threshold = check_threshold(threshold, 'threshold')
        self.normalize = normalize
        self.interpolation = interpolation

    def count_case(self, case: Case) -> Counts:
        """F1⁺ and F1⁻ of one image, in fixed point."""
        truth, label = case.mask, case.label
        cam = case.drawn_map(label, 'cam', truth.shape, self.interpolation)
        if not np.isfinite(cam).all():
            raise ValueError('the mask holds NaN or infinite values')
        foreground = (normalize_map(cam) if self.normalize else cam) >= self.threshold
        confusion = [
            (foreground & truth).sum(),
            (foreground & ~truth).sum(),
            (~foreground & truth).sum(),
            (~foreground & ~truth).sum(),
        ]
        fore, back = (float(score) for score in dice_scores(np.array(confusion)))
        counts = {'empty': np.array(int(np.isnan(fore)) + int(np.isnan(back)))}
        for name, score in (('F1+', fore), ('F1-', back)):
            counts |= {name: fixed(np.nan_to_num(score)), f'{name}n': np.array(not np.isnan(score))}
        if case.has(PRED_LABEL):
            counts |= {'wrong': np.array(case.predicted != label), 'judged': np.array(1)}
        return counts

    def figures(self, totals: Counts) -> dict[str, float]:
        """Percentages; an F1 that no image has is left out."""
        results = {}
        for name in ('F1+', 'F1-'):
            if totals[f'{name}n']:
                results[name] = float(100 * (totals[name] / UNIT) / totals[f'{name}n'])
        if 'judged' in totals:
            results['error'] = float(100 * totals['wrong'] / totals['judged'])
        return results | {'dice_empty': int(totals['empty'])}
