# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Counts of boxes from class maps against boxes, at every threshold; without torch and the hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmentropy.ops.localizing.boxes import scale_boxes
from mmentropy.ops.localizing.guesses import STRATEGIES, any_right, guesses
from mmentropy.ops.localizing.protocol import (
    CONTOURS,
    best_iou_by_threshold,
    current_localizer,
    hits,
    is_in_top,
    quantize_map,
    thresholds_of,
)
from mmentropy.ops.localizing.threshold_rules import own_threshold
from mmentropy.structures import PRED_LABEL, PRED_SCORE

from .case_counter import CaseCounter, Counts, add_counts
from .samples import Case, check_drawing
from .thresholds import given_thresholds, rule_of

TOP1, TOP5 = 'Top1-Loc', 'Top5-Loc'
#: Counts are named: how many cases hit at each threshold, for a δ or a Top-k; how many cases a Top-k could judge.
HITS, JUDGED = 'hits ', 'judged '
#: Papers' own rules, by name: options of the metric that they settle.
PROTOCOLS = {'er2023': dict(iou_thrs=(50,), contours='largest', threshold=0.15, strict=True)}


class BoxCounter(CaseCounter):
    """The hits of each map's boxes at every threshold, and figures of their sums: what
    :class:`~mmentropy.evaluation.box_localization.BoxLocalizationMetric` counts, for whoever needs no metric of a run.

    Args:
        iou_thrs: the metric's, as are contours, localizer, cam_interval, eval_size, interpolation, threshold,
            threshold_from, box_strategy, strict, protocol and grid.
        prefix: what the figures' names begin with; a protocol's by default its own.

    >>> cam = np.zeros((1, 8, 8))
    >>> cam[0, 2:6, 2:6] = 1
    >>> counter = BoxCounter(eval_size=8)
    >>> truth = {'gt_label': [0], 'gt_bboxes': [[2, 2, 6, 6]], 'ori_shape': (8, 8)}
    >>> counter.figures(counter.count({**truth, 'cams': cam, 'cam_labels': [0]}))['MaxBoxAccV2']
    100.0
    """

    reader = 'BoxLocalizationMetric'

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
        prefix: str | None = None,
    ) -> None:
        if protocol is not None:
            iou_thrs, contours, threshold, strict = _settled_by(protocol, iou_thrs, contours, threshold, strict)
            prefix = prefix or protocol
        self.grid, self.prefix = check_drawing(grid), prefix or 'wsol'
        if contours not in CONTOURS:
            raise ValueError(f'contours must be one of {CONTOURS}, got {contours!r}')
        if not iou_thrs or not all(1 <= delta <= 100 and delta == int(delta) for delta in iou_thrs):
            raise ValueError(f'iou_thrs are whole per cent from 1 to 100, got {tuple(iou_thrs)}')
        if box_strategy is not None and box_strategy not in STRATEGIES:
            raise ValueError(f'box_strategy must be one of {sorted(STRATEGIES)}, got {box_strategy!r}')
        self.box_strategy = box_strategy
        self.iou_thrs = tuple(int(delta) for delta in iou_thrs)
        self.contours, self.strict = contours, strict
        self.localizer = current_localizer(localizer)
        self.interpolation = interpolation
        height, width = (eval_size, eval_size) if isinstance(eval_size, int) else eval_size
        self.eval_size = (int(height), int(width))
        #: What has a threshold of its own, and hits of its own.
        self.names = (*map(str, self.iou_thrs), *((TOP1, TOP5) if 50 in self.iou_thrs else ()))
        self.rule = rule_of(threshold)
        self.given = given_thresholds(self.names, threshold, threshold_from, self.prefix)
        # thresholds that were given follow the protocol's, so that they are met exactly; the maxima do not see them
        extra = sorted({value for chosen in self.given.values() for value in chosen.values()})
        grid = thresholds_of(cam_interval)
        self.oracle_size = len(grid)
        self.thresholds = np.concatenate([grid, extra])

    def count_case(self, case: Case) -> Counts:
        """Hits of one image at each threshold, summed over its classes."""
        counts, *others = (self._count_class(case, label, boxes) for label, boxes in case.boxes_by_label())
        for other in others:
            add_counts(counts, other)
        return counts

    def _count_class(self, case: Case, label: int, boxes: np.ndarray) -> Counts:
        """(T,) hits of one class of one image, for each of ``names``; the map's own threshold comes last."""
        cam = case.normalized_map(label, self.localizer, self.eval_size, self.interpolation)
        own = [] if self.rule is None else [own_threshold(cam, self.rule)]
        truths = scale_boxes(boxes, case.size, self.eval_size)
        best = best_iou_by_threshold(quantize_map(cam), truths, np.append(self.thresholds, own), self.contours)
        hit = dict(zip(self.iou_thrs, hits(best, self.iou_thrs, self.strict).T))
        counts = {'cases': np.array(1)} | {f'{HITS}{delta}': hit[delta] for delta in self.iou_thrs}
        if 50 in self.iou_thrs:
            for name, right in self._in_top(case, label).items():
                counts |= {f'{JUDGED}{name}': np.array(1), f'{HITS}{name}': hit[50] & right}
        if self.box_strategy is not None:
            counts['guessed'] = np.array(self._guessed(case, label, truths))
        return counts

    def accuracy(self, totals: Counts) -> dict[str, np.ndarray]:
        """Per cent of the cases that hit at each threshold, by name; a Top-k that not every case could judge is left
        out (maps without predictions)."""
        cases = totals['cases']
        names = [name for name in self.names if name not in (TOP1, TOP5) or totals.get(f'{JUDGED}{name}') == cases]
        return {name: 100 * totals[f'{HITS}{name}'] / cases for name in names}

    def figures(self, totals: Counts) -> dict[str, float]:
        """Percentages and thresholds."""
        accuracy = self.accuracy(totals)
        best = {name: int(curve[: self.oracle_size].argmax()) for name, curve in accuracy.items()}
        results = self._named({name: accuracy[name][index] for name, index in best.items()}, 'Max', '')
        results |= {f'threshold@{name}': float(self.thresholds[index]) for name, index in best.items()}
        for suffix, chosen in self.given.items():
            at = {name: int(np.flatnonzero(self.thresholds == t)[-1]) for name, t in chosen.items() if name in accuracy}
            results |= self._named({name: accuracy[name][index] for name, index in at.items()}, '', f'@{suffix}')
            results |= {f'threshold@{name}@{suffix}': float(self.thresholds[index]) for name, index in at.items()}
        if self.rule is not None:
            results |= self._named({name: curve[-1] for name, curve in accuracy.items()}, '', f'@{self.rule}')
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

    def _guessed(self, case: Case, label: int, truths: np.ndarray) -> bool:
        """Whether one of the strategy's (class, box) guesses is right; the maps are those of the best classes."""
        count = len(STRATEGIES[self.box_strategy])
        best = np.argsort(-case.array(PRED_SCORE), kind='stable')[:count]
        maps = np.stack([case.localizing_map(int(c), self.localizer) for c in best])
        # −H has no positive value, so a share of its maximum means nothing.
        normalize = 'minmax' if self.localizer == 'certainty' else 'max'
        chosen = guesses(maps, best.tolist(), self.box_strategy, self.eval_size, normalize=normalize, grid=case.grid)
        return any_right(*chosen, label, truths)

    def _in_top(self, case: Case, label: int) -> dict[str, bool]:
        """Whether the class is right, and among the five best; as far as there are predictions."""
        if case.scores is not None:
            return {TOP1: is_in_top(case.scores, label, 1), TOP5: is_in_top(case.scores, label, 5)}
        return {TOP1: case.predicted == label} if case.has(PRED_LABEL) else {}


def _settled_by(protocol: str, *given: Any) -> tuple:
    """The options that a protocol settles; ValueError for an unknown one, or where one of them is given beside it."""
    if protocol not in PROTOCOLS:
        raise ValueError(f'protocol must be one of {sorted(PROTOCOLS)}, got {protocol!r}')
    settled = PROTOCOLS[protocol]
    for name, value, default in zip(settled, given, ((30, 50, 70), 'all', 'oracle', False)):
        if (tuple(value) if isinstance(value, list) else value) not in (default, settled[name]):
            raise ValueError(f'protocol={protocol!r} settles {name}; leave {name}={value!r} out')
    return tuple(settled.values())
