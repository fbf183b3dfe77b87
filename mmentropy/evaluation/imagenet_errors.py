# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Errors as ILSVRC's classification and localisation tasks count them."""

from __future__ import annotations

import numpy as np

from mmentropy.ops.localizing.boxes import scale_boxes
from mmentropy.ops.localizing.guesses import any_right, guesses
from mmentropy.ops.localizing.protocol import is_in_top
from mmentropy.registry import METRICS
from mmentropy.structures import PRED_SCORE

from .counting import CountingMetric, Counts
from .samples import Case

#: A box is right from this IoU on.
IOU = 0.5
ERRORS = ('Top1-error', 'Top5-error', 'Top1-Loc-error', 'Top5-Loc-error', 'Top5-Loc-error@tight_loose')


@METRICS.register_module()
class ImageNetErrorMetric(CountingMetric):
    """Top-1 and Top-5 error of classification and of localisation, per cent, as in the CAM paper (Zhou et al., 2016).

    A guess is a class and a box; it is right if the class is the image's and the box has an IoU of at least 0.5 with
    one of its true boxes. The box is the tightest around the largest component above ``share`` of the map's maximum.
    ``Top1-Loc-error`` has one guess, for the best class; ``Top5-Loc-error`` one for each of the five best;
    ``Top5-Loc-error@tight_loose`` the paper's five boxes of three classes, see
    :func:`~mmentropy.ops.localizing.guesses.guesses`.

    Args:
        share, tight: of the map's maximum, for the (loose) box and for the tight one.
        eval_size: side in pixels at which maps and boxes are compared.
        grid: see :class:`~mmentropy.evaluation.counting.CountingMetric`.

    >>> cams = np.zeros((5, 4, 4))
    >>> cams[0, :2, :2] = 1
    >>> scores = {'pred_score': np.array([0.6, 0.1, 0.1, 0.1, 0.1]), 'cams': cams, 'cam_labels': np.arange(5)}
    >>> metric = ImageNetErrorMetric(eval_size=4)
    >>> metric.process(None, [{'gt_label': [0], 'gt_bboxes': [[0, 0, 1, 1]], 'ori_shape': (4, 4), **scores}])
    >>> metric.evaluate(size=1)['ilsvrc/Top1-Loc-error']
    0.0
    """

    default_prefix = 'ilsvrc'

    def __init__(
        self,
        share: float = 0.2,
        tight: float = 0.5,
        eval_size: int = 224,
        grid: str = 'sample',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, grid=grid)
        if not 0 <= share < tight < 1:
            raise ValueError(f'share lies below tight, both in [0, 1): got share {share}, tight {tight}')
        self.share, self.tight, self.size = share, tight, (eval_size, eval_size)

    def count_case(self, case: Case) -> Counts:
        """Which of the errors the image makes."""
        label, scores = case.label, case.array(PRED_SCORE)
        best = np.argsort(-scores, kind='stable')[:5]
        truths = scale_boxes(case.boxes, case.size, self.size)
        maps = np.stack([case.class_map(int(c)) for c in best])

        def wrong(count: int, strategy: str) -> bool:
            options = dict(size=self.size, loose=self.share, tight=self.tight, grid=case.grid)
            chosen = guesses(maps[:count], best[:count].tolist(), strategy, **options)
            return not any_right(*chosen, label, truths, IOU)

        found = (
            not is_in_top(scores, label, 1),
            not is_in_top(scores, label, 5),
            wrong(1, 'top5'),
            wrong(5, 'top5'),
            wrong(5, 'tight_loose'),
        )
        return {'cases': np.array(1)} | {name: np.array(error) for name, error in zip(ERRORS, found)}

    def figures(self, totals: Counts) -> dict[str, float]:
        """Percentages."""
        return {name: float(100 * totals[name] / totals['cases']) for name in ERRORS}
