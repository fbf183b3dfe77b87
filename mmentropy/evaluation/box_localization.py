# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Boxes from class maps against boxes: MaxBoxAcc, MaxBoxAccV2, GT-known, Top-1 and Top-5 localisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmentropy.ops.localizing.boxes import scale_boxes
from mmentropy.ops.localizing.guesses import STRATEGIES, any_right, guesses
from mmentropy.ops.localizing.protocol import (
    CONTOURS,
    best_iou_by_threshold,
    current_localizer,
    hits,
    is_in_top,
    localization_map,
    quantize_map,
    reads_class_map,
    thresholds_of,
)
from mmentropy.ops.mapping.scaling import upsample_map
from mmentropy.registry import METRICS
from mmentropy.structures import CAM_LABELS, CAMS, ENTROPY_MAP, GT_BBOXES, GT_LABEL, PRED_LABEL, PRED_SCORE

from .counting import CountingMetric, Counts, field, name_of, to_numpy
from .thresholds import given_thresholds

GT_BBOX_LABELS = 'gt_bbox_labels'
TOP1, TOP5 = 'Top1-Loc', 'Top5-Loc'


def ground_truth_labels(sample: dict, metric: object) -> list[int]:
    """The labels of a sample, at least one."""
    labels = [int(label) for label in to_numpy(field(sample, GT_LABEL, metric)).reshape(-1)]
    if not labels:
        raise ValueError(f'{name_of(sample)} has no label; an image without any class has nothing to localise')
    return labels


def ground_truth_label(sample: dict, metric: object) -> int:
    """The one ground-truth label of a sample; several are an error."""
    labels = ground_truth_labels(sample, metric)
    if len(labels) != 1:
        raise ValueError(
            f'{name_of(sample)} has {len(labels)} labels, but {type(metric).__name__} evaluates one class an image; '
            'use a data set with one query class an image'
        )
    return labels[0]


def class_row(cam_labels: object, label: int, sample: dict) -> int:
    """Which of ``cams`` is the map of a class; one labelled −1 is class-agnostic and serves every class."""
    labels = to_numpy(cam_labels).reshape(-1)
    place = np.flatnonzero((labels == label) | (labels == -1))
    if not len(place):
        raise ValueError(
            f'{name_of(sample)} has maps of the classes {labels.tolist()} but not of its own, {label}; '
            "let the model's map_classes include 'gt'"
        )
    return int(place[0])


def class_map(sample: dict, label: int, metric: object) -> np.ndarray:
    """(h, w) raw map of one class from ``cams``."""
    row = class_row(field(sample, CAM_LABELS, metric), label, sample)
    return to_numpy(field(sample, CAMS, metric)[row])


def localizing_map(sample: dict, label: int, localizer: str, metric: object) -> np.ndarray:
    """(h, w) the raw map that ``localizer`` names, of one class."""
    cam = class_map(sample, label, metric) if reads_class_map(localizer) else None
    entropy_map = None if localizer == 'cam' else to_numpy(field(sample, ENTROPY_MAP, metric))
    return localization_map(cam, entropy_map, localizer)


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
        threshold: ``oracle``; a number, or one for each of '30', '50', …, 'Top1-Loc', 'Top5-Loc' (suffix ``@fixed``).
        threshold_from: JSON of another split's figures, whose thresholds are used (suffix ``@transfer``).
        box_strategy: adds ``Top5-Loc-error``, the share of images for which none of five (class, box) guesses is right
            at δ = 50: ``top5`` or the CAM paper's ``tight_loose``, see
            :func:`mmentropy.ops.localizing.guesses.guesses`. Its boxes are cut at shares of the maximum, as in that
            paper; all else here reads min-max normalised maps.

    Results are percentages; ``threshold@NAME`` is the smallest threshold t in [0, 1) at which the maximum is reached.
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
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if contours not in CONTOURS:
            raise ValueError(f'contours must be one of {CONTOURS}, got {contours!r}')
        if not iou_thrs or not all(1 <= delta <= 100 and delta == int(delta) for delta in iou_thrs):
            raise ValueError(f'iou_thrs are whole per cent from 1 to 100, got {tuple(iou_thrs)}')
        if box_strategy is not None and box_strategy not in STRATEGIES:
            raise ValueError(f'box_strategy must be one of {sorted(STRATEGIES)}, got {box_strategy!r}')
        self.box_strategy = box_strategy
        self.iou_thrs = tuple(int(delta) for delta in iou_thrs)
        self.contours = contours
        self.localizer = current_localizer(localizer)
        self.interpolation = interpolation
        height, width = (eval_size, eval_size) if isinstance(eval_size, int) else eval_size
        self.eval_size = (int(height), int(width))
        #: Column of the hits, for each name that has a threshold of its own.
        self.columns = {str(delta): i for i, delta in enumerate(self.iou_thrs)}
        if 50 in self.iou_thrs:
            self.columns |= {TOP1: len(self.iou_thrs), TOP5: len(self.iou_thrs) + 1}
        self.given = given_thresholds(tuple(self.columns), threshold, threshold_from, self.prefix)
        # thresholds that were given follow the protocol's, so that they are met exactly; the maxima do not see them
        extra = sorted({value for chosen in self.given.values() for value in chosen.values()})
        grid = thresholds_of(cam_interval)
        self.oracle_size = len(grid)
        self.thresholds = np.concatenate([grid, extra])

    def count(self, sample: dict) -> Counts:
        """Hits of one image at each threshold: columns δ …, then Top-1 and Top-5 at δ = 50."""
        deltas = len(self.iou_thrs)
        counts = {'cases': np.array(0), 'hits': np.zeros((len(self.thresholds), deltas + 2), np.int64)}
        for label, boxes in self._cases(sample):
            try:
                cam = localizing_map(sample, label, self.localizer, self)
                img = quantize_map(upsample_map(cam, self.eval_size, self.interpolation))
                truths = scale_boxes(boxes, field(sample, 'ori_shape', self)[:2], self.eval_size)
                hit = hits(best_iou_by_threshold(img, truths, self.thresholds, self.contours), self.iou_thrs)
            except ValueError as error:
                raise ValueError(f'{name_of(sample)}: {error}') from error
            counts['cases'] += 1
            counts['hits'][:, :deltas] += hit
            for i, right in enumerate(self._in_top(sample, label)):
                counts[f'judged{i}'] = counts.get(f'judged{i}', 0) + np.array(1)
                if 50 in self.iou_thrs:
                    counts['hits'][:, deltas + i] += hit[:, self.iou_thrs.index(50)] & right
            if self.box_strategy is not None:
                counts['guessed'] = counts.get('guessed', 0) + np.array(int(self._guessed(sample, label, truths)))
        return counts

    def figures(self, totals: Counts) -> dict[str, float]:
        """Percentages and thresholds."""
        accuracy = 100 * totals['hits'] / totals['cases']
        names = dict(self.columns)
        for i, name in enumerate((TOP1, TOP5)):
            if totals.get(f'judged{i}', 0) != totals['cases']:  # maps without predictions
                names.pop(name, None)
        oracle = accuracy[: self.oracle_size]
        best = {name: int(oracle[:, column].argmax()) for name, column in names.items()}
        results = self._named({name: oracle[best[name], column] for name, column in names.items()}, 'Max', '')
        results |= {f'threshold@{name}': float(self.thresholds[index]) for name, index in best.items()}
        for suffix, chosen in self.given.items():
            at = {name: int(np.flatnonzero(self.thresholds == t)[-1]) for name, t in chosen.items() if name in names}
            figures = {name: accuracy[index, names[name]] for name, index in at.items()}
            results |= self._named(figures, '', f'@{suffix}')
            results |= {f'threshold@{name}@{suffix}': float(self.thresholds[index]) for name, index in at.items()}
        if self.box_strategy is not None:
            results['Top5-Loc-error'] = float(100 - 100 * totals['guessed'] / totals['cases'])
        return results

    def _named(self, figures: dict[str, float], best: str, suffix: str) -> dict[str, float]:
        """Result keys, from what each threshold is chosen for."""
        deltas = [str(delta) for delta in self.iou_thrs if str(delta) in figures]
        results = {}
        if len(deltas) == len(self.iou_thrs):
            results[f'{best}BoxAccV2{suffix}'] = float(np.mean([figures[delta] for delta in deltas]))
        results |= {f'{best}BoxAcc@{delta}{suffix}': float(figures[delta]) for delta in deltas}
        if '50' in figures:
            if self.contours == 'largest':
                results[f'{best}BoxAcc{suffix}'] = float(figures['50'])
            results[f'GT-known{suffix}'] = float(figures['50'])
        return results | {f'{name}{suffix}': float(figures[name]) for name in (TOP1, TOP5) if name in figures}

    def _cases(self, sample: dict) -> list[tuple[int, np.ndarray]]:
        """(label, its boxes): one label has all boxes, several have those that ``gt_bbox_labels`` gives them."""
        labels = ground_truth_labels(sample, self)
        boxes = to_numpy(field(sample, GT_BBOXES, self)).reshape(-1, 4)
        if len(labels) == 1:
            return [(labels[0], boxes)]
        owners = to_numpy(field(sample, GT_BBOX_LABELS, self)).reshape(-1)
        cases = [(label, boxes[owners == label]) for label in labels if (owners == label).any()]
        if not cases:
            raise ValueError(f'{name_of(sample)}: none of its labels {labels} has a box in {GT_BBOX_LABELS}')
        return cases

    def _guessed(self, sample: dict, label: int, truths: np.ndarray) -> bool:
        """Whether one of the strategy's (class, box) guesses is right; the maps are those of the best classes."""
        count = len(STRATEGIES[self.box_strategy])
        best = np.argsort(-to_numpy(field(sample, PRED_SCORE, self)), kind='stable')[:count]
        maps = np.stack([localizing_map(sample, int(c), self.localizer, self) for c in best])
        # −H has no positive value, so a share of its maximum means nothing.
        normalize = 'minmax' if self.localizer == 'certainty' else 'max'
        found = guesses(maps, best.tolist(), self.box_strategy, self.eval_size, normalize=normalize)
        return any_right(*found, label, truths)

    def _in_top(self, sample: dict, label: int) -> tuple[bool, ...]:
        """Whether the class is right, and among the five best; as far as there are predictions."""
        if sample.get(PRED_SCORE) is not None:
            scores = to_numpy(sample[PRED_SCORE])
            return is_in_top(scores, label, 1), is_in_top(scores, label, 5)
        if sample.get(PRED_LABEL) is not None:
            return (label in to_numpy(sample[PRED_LABEL]).reshape(-1).tolist(),)
        return ()
