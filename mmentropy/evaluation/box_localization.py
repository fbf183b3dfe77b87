# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Boxes from class maps against boxes: MaxBoxAcc, MaxBoxAccV2, GT-known, Top-1 and Top-5 localisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmentropy.registry import METRICS

from .box_counter import BoxCounter
from .case_counter import Counts
from .counting import CountingMetric
from .samples import Case


@METRICS.register_module()
class BoxLocalizationMetric(CountingMetric):
    r"""Box accuracy of class maps, by the WSOL protocol to the letter (Choe et al., CVPR 2020; see docs/evaluation.md).

    For every threshold t, boxes are drawn around the contours of the ground-truth class's map, and an image is a hit at
    δ if one of them reaches the IoU δ with one of its ground truths. Hits are counted over the set, and only then

    .. math:: \mathrm{MaxBoxAcc}@δ = \max_t \frac{\mathrm{hits}(t, δ)}{n}, \qquad
       \mathrm{MaxBoxAccV2} = \frac{1}{|δ|} \sum_δ \mathrm{MaxBoxAcc}@δ

    ``GT-known`` is MaxBoxAcc@50. ``Top1-Loc`` and ``Top5-Loc`` count an image, at δ = 50, only if its class is (among
    the five) predicted, each with its own maximum over t; the box comes from the ground-truth class's map, which for a
    right top-1 prediction is the predicted class's.

    An image with several labels is one case for each of them that has boxes, by ``gt_bbox_labels``.

    The maximum flatters: it picks t on the split that it reports. With ``threshold`` or ``threshold_from``, the figures
    at thresholds that this split did not choose stand beside it: ``BoxAccV2@fixed``, ``BoxAcc@50@transfer``, ….

    Args:
        iou_thrs: IoUs δ in per cent; V2 is the mean over them.
        contours: ``all`` (V2), or ``largest`` (V1: the largest contour alone; adds the key ``MaxBoxAcc``, at δ = 50).
        localizer: the map, see :func:`mmentropy.ops.localizing.protocol.localization_map`.
        cam_interval: distance between thresholds.
        eval_size: (height, width) or side in pixels at which maps and boxes are compared.
        interpolation: how maps are enlarged.
        threshold: ``oracle``; a number, or one for each of '30', '50', …, 'Top1-Loc', 'Top5-Loc' (suffix ``@fixed``);
            or a rule by which each map chooses its own (``@auto``, ``@entropy_area``, ``@mean_share``, ``@otsu``), see
            :mod:`mmentropy.ops.localizing.threshold_rules`.
        threshold_from: JSON of another split's figures, whose thresholds are used (suffix ``@transfer``).
        box_strategy: adds ``Top5-Loc-error``, the share of images for which none of five (class, box) guesses is right
            at δ = 50: ``top5`` or the CAM paper's ``tight_loose``, see
            :func:`mmentropy.ops.localizing.guesses.guesses`. Its boxes are cut at shares of the maximum, as in that
            paper; all else here reads min-max normalised maps.
        strict: a hit is an IoU above δ, not at it.
        protocol: a paper's own rule in place of ``iou_thrs``, ``contours``, ``threshold`` and ``strict``; its name
            is the ``prefix``, too, so that the figures stand beside the WSOL protocol's. ``er2023``: one box, the
            tightest around the largest contour at the fixed threshold 0.15, right above an IoU of 50 %; read
            ``er2023/GT-known@fixed`` and ``er2023/Top1-Loc@fixed``, the others are the oracle's.
        grid: ``sample`` draws maps where the model says that their locations look (``map_grid``); ``half_pixel`` as
            ``cv2.resize`` does whatever it says, for comparison with published figures.

    Results are percentages; ``threshold@NAME`` is the smallest threshold t in [0, 1) at which the maximum is reached.

    >>> import numpy as np
    >>> cam = np.zeros((1, 8, 8))
    >>> cam[0, 2:6, 2:6] = 1
    >>> truth = {'gt_label': [0], 'gt_bboxes': [[2, 2, 6, 6]], 'ori_shape': (8, 8)}
    >>> metric = BoxLocalizationMetric(eval_size=8)
    >>> metric.process(None, [{**truth, 'cams': cam, 'cam_labels': [0]}])
    >>> metric.evaluate(size=1)['wsol/MaxBoxAccV2']
    100.0
    """

    def __init__(
        self,
        iou_thrs: Sequence[int] = (30, 50, 70),
        contours: str = 'all',
        localizer: str = 'cam',
        cam_interval: float = 0.001,
        eval_size: int | Sequence[int] = 224,
        interpolation: str = 'cubic',
        threshold: str | float | Mapping[str, float] = 'oracle',
        threshold_from: str | Path | None = None,
        box_strategy: str | None = None,
        strict: bool = False,
        protocol: str | None = None,
        grid: str = 'sample',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        self.counter = BoxCounter(
            iou_thrs,
            contours,
            localizer,
            cam_interval,
            eval_size,
            interpolation,
            threshold,
            threshold_from,
            box_strategy,
            strict,
            protocol,
            grid,
            prefix,
        )
        super().__init__(collect_device=collect_device, prefix=self.counter.prefix, grid=grid)

    def count_case(self, case: Case) -> Counts:
        """Hits of one image at each threshold, summed over its classes."""
        return self.counter.count_case(case)

    def figures(self, totals: Counts) -> dict[str, float]:
        """Percentages and thresholds."""
        return self.counter.figures(totals)
