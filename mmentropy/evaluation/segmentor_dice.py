# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""F1⁺ and F1⁻ of a segmentor, by the rule that masks from weak labels are judged by."""

from __future__ import annotations

from mmentropy.registry import METRICS
from mmentropy.structures import CAM_LABELS, CAMS, GT_LABEL, GT_MASK

from .counting import Counts
from .dice import DiceMetric
from .samples import Case


@METRICS.register_module()
class SegmentorDiceMetric(DiceMetric):
    """:class:`DiceMetric` on mmsegmentation's predictions of background (0) and object (any other class).

    The classification error is not reported: a segmentor has no label of the image.

    >>> import torch
    >>> found, truth = torch.tensor([[[1, 1, 1, 0]]]), torch.tensor([[[1, 0, 0, 0]]])
    >>> metric = SegmentorDiceMetric()
    >>> metric.process(None, [{'pred_sem_seg': {'data': found}, 'gt_sem_seg': {'data': truth}}])
    >>> metric.evaluate(size=1)
    {'wsol/F1+': 50.0, 'wsol/F1-': 50.0, 'wsol/dice_empty': 0}
    """

    def count(self, sample: dict) -> Counts:
        """F1⁺ and F1⁻ of one image, in fixed point."""
        case = Case(sample, type(self).__name__)
        foreground, truth = (case.need(name)['data'].squeeze(0) > 0 for name in ('pred_sem_seg', 'gt_sem_seg'))
        read = {name: sample[name] for name in ('img_path', 'sample_idx', 'sample_id') if name in sample}
        return super().count({**read, GT_LABEL: [0], GT_MASK: truth, CAMS: foreground[None].float(), CAM_LABELS: [-1]})
