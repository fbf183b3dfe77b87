# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps against masks: PxAP, mPxAP, IoU and Dice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from mmentropy.ops.localizing.pixel_metrics import (
    average_precision,
    confusions,
    dice_scores,
    histogram_edges,
    iou_score,
    resize_mask,
    score_histogram,
    upsample_on_device,
)
from mmentropy.ops.localizing.protocol import current_localizer
from mmentropy.ops.localizing.threshold_rules import own_threshold
from mmentropy.registry import METRICS
from mmentropy.structures import CAMS

from .counting import UNIT, CountingMetric, Counts
from .samples import Case
from .thresholds import given_thresholds, rule_of

#: What a threshold is chosen for. F1⁻ is read at the threshold of F1⁺: its own best would be to find nothing.
CHOSEN = ('IoU', 'F1+', 'pooled-IoU', 'pooled-F1+')
#: How the histogram of a class is named among the counts.
CLASS = 'class '
COMPANIONS = {'F1-': 'F1+', 'pooled-F1-': 'pooled-F1+'}


@METRICS.register_module()
class PixelLocalizationMetric(CountingMetric):
    """Pixel accuracy of class maps by the WSOL protocol (Choe et al., CVPR 2020), and IoU and Dice.

    ``PxAP`` pools the histograms of all images. ``MaxIoU`` and ``MaxF1+`` (Dice of the foreground) are means over the
    images, ``Maxpooled-…`` come from the pooled counts; a pixel is foreground from the threshold on (≥), which is the
    best on this split. ``F1-@oracle`` (background) is read at the threshold of ``MaxF1+``. At given thresholds the same
    figures follow as ``IoU@fixed``, ``IoU@transfer``, …. All these ask *where any object is*: an image with several
    labels is compared, by the maximum of their normalised maps, with the union of its objects, ``gt_mask``.

    ``mPxAP`` is the mean over the classes of the PxAP of each class's own maps against its own masks, pooled over the
    images of the class. The masks are those of ``gt_class_masks`` or ``gt_seg_map``; without these, the union of an
    image with a single label is its class's. Where an image of several labels has the union alone, the figure is
    called ``classwise-union-PxAP`` instead: such an image counts for each of its classes with the maximum of their maps
    against the union, so that it cannot tell swapped maps.

    Images whose mask has no foreground have no IoU and no F1⁺, those without background no F1⁻: they are left out of
    the means over images and counted in ``empty_masks`` and ``full_masks``.

    Args:
        localizer: the map, see :func:`mmentropy.ops.localizing.protocol.localization_map`.
        cam_interval: distance between thresholds.
        eval_size: (height, width) or side in pixels at which maps and masks are compared.
        threshold: ``oracle``; a number, or one for each of 'IoU', 'F1+', 'pooled-IoU', 'pooled-F1+'; or a rule by which
            each image's map chooses its own, as in ``BoxLocalizationMetric`` (``IoU@auto``, …).
        threshold_from: JSON of another split's figures.
        grid: ``sample`` draws maps where the model says that their locations look (``map_grid``); ``half_pixel`` as
            ``cv2.resize`` does whatever it says, for comparison with published figures.

    Reads ``gt_mask`` and, where they are, ``gt_class_masks``, ``gt_seg_map`` and ``ignore_mask``; maps on a GPU are
    evaluated there. Results are per cent.

    >>> metric = PixelLocalizationMetric(eval_size=(1, 4))
    >>> truth = {'gt_label': [0], 'gt_mask': np.array([[1, 1, 0, 0]])}
    >>> metric.process(None, [{**truth, 'cams': [[[4.0, 1.0, 2.0, 0.0]]], 'cam_labels': [0]}])
    >>> result = metric.evaluate(size=1)  # precision 1, 1/2, 2/3 from the top
    >>> round(result['wsol/PxAP'], 2), round(result['wsol/MaxIoU'], 2), result['wsol/threshold@IoU']
    (83.33, 66.67, 0.001)
    """

    def __init__(
        self,
        localizer: str = 'cam',
        cam_interval: float = 0.001,
        eval_size: int | tuple[int, int] = 224,
        threshold: str | float | Mapping[str, float] = 'oracle',
        threshold_from: str | Path | None = None,
        grid: str = 'sample',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, grid=grid)
        self.localizer = current_localizer(localizer)
        height, width = (eval_size, eval_size) if isinstance(eval_size, int) else eval_size
        self.eval_size = (int(height), int(width))
        self.rule = rule_of(threshold)
        self.given = given_thresholds(CHOSEN, threshold, threshold_from, self.prefix)
        extra = [value for chosen in self.given.values() for value in chosen.values()]
        self.edges, self.protocol = histogram_edges(cam_interval, extra)

    def count_case(self, case: Case) -> Counts:
        """The score histogram of one image, and of each of its classes; its scores at every threshold, fixed point."""
        mask = resize_mask(case.mask, self.eval_size)
        masks, left_out = case.class_masks(), case.left_out()
        left_out = None if left_out is None else resize_mask(left_out, self.eval_size)
        maps = [self._scores(case, label) for label in case.labels]
        scores = torch.stack(maps).amax(0) if len(maps) > 1 else maps[0]
        histogram = self._histogram(scores, mask, left_out)
        by_class = [histogram] * len(maps)
        if masks is not None:
            masks = [resize_mask(one, self.eval_size) for one in masks]
            if len(masks) > 1 or not np.array_equal(masks[0], mask):
                by_class = [self._histogram(*pair, left_out) for pair in zip(maps, masks)]
        confusion = confusions(histogram)
        if self.rule is not None:  # at the map's own threshold last; a rule's foreground lies above it, not at it
            own = own_threshold(scores.cpu().numpy(), self.rule) + 1e-12
            own_histogram = self._histogram(scores, mask, left_out, np.array([0.0, own, 2.0]))
            confusion = np.append(confusion, confusions(own_histogram)[:, -1:], axis=1)
        per_image = np.stack([iou_score(confusion), *dice_scores(confusion)])
        return {
            **({} if self.rule is None else {'own': confusion[:, -1]}),
            'images': np.array(1),
            'union_only': np.array(masks is None),
            'histogram': histogram,
            **{f'{CLASS}{label}': one for label, one in zip(case.labels, by_class)},
            'scores': np.round(np.nan_to_num(per_image) * UNIT).astype(np.int64),
            'scored': (~np.isnan(per_image[:, 0])).astype(np.int64),
        }

    def figures(self, totals: Counts) -> dict[str, float]:
        """Percentages and thresholds."""
        curves = self._curves(totals)
        results = self._areas(totals) | {
            'empty_masks': int(totals['images'] - totals['scored'][0]),
            'full_masks': int(totals['images'] - totals['scored'][2]),
        }
        results |= self._at_best(curves)
        for suffix, chosen in self.given.items():
            results |= self._at_given(curves, suffix, chosen)
        if self.rule is not None:
            results |= {f'{name}@{self.rule}': float(curve[-1]) for name, curve in curves.items()}
        return results

    def _areas(self, totals: Counts) -> dict[str, float]:
        """PxAP of all pixels, and its mean over the classes under the name that it deserves."""
        classes = sorted(name for name in totals if name.startswith(CLASS))  # one order in every process
        areas = [average_precision(self._protocol_bins(totals[name])) for name in classes]
        areas = [area for area in areas if area is not None]
        if not areas:
            raise ValueError('PixelLocalizationMetric: no image of the split has a foreground pixel in its gt_mask')
        mean = 'classwise-union-PxAP' if totals['union_only'] else 'mPxAP'
        return {'PxAP': average_precision(self._protocol_bins(totals['histogram'])), mean: float(np.mean(areas))}

    def _at_best(self, curves: dict[str, np.ndarray]) -> dict[str, float]:
        """The maxima, their companions and their thresholds, of the protocol's thresholds below 1."""
        grid = self.protocol[:-3]
        best = {name: int(grid[curves[name][grid].argmax()]) for name in CHOSEN}
        results = {f'Max{name}': float(curves[name][index]) for name, index in best.items()}
        results |= {f'{name}@oracle': float(curves[name][best[other]]) for name, other in COMPANIONS.items()}
        return results | {f'threshold@{name}': float(self.edges[index]) for name, index in best.items()}

    def _at_given(self, curves: dict[str, np.ndarray], suffix: str, chosen: Mapping[str, float]) -> dict[str, float]:
        """The figures at thresholds that were given, and these."""
        at = {name: int(np.searchsorted(self.edges, value)) for name, value in chosen.items()}
        at |= {name: at[other] for name, other in COMPANIONS.items() if other in at}
        results = {f'{name}@{suffix}': float(curves[name][index]) for name, index in at.items()}
        return results | {f'threshold@{name}@{suffix}': value for name, value in chosen.items()}

    def _curves(self, totals: Counts) -> dict[str, np.ndarray]:
        """Each score over all edges, in per cent."""
        pooled = confusions(totals['histogram'])
        if self.rule is not None:
            pooled = np.append(pooled, totals['own'][:, None], axis=1)
        means = 100 * (totals['scores'] / UNIT) / np.maximum(totals['scored'], 1)[:, None]
        fore, back = dice_scores(pooled)
        curves = dict(zip(('IoU', 'F1+', 'F1-'), means))
        return curves | {
            'pooled-IoU': 100 * np.nan_to_num(iou_score(pooled)),
            'pooled-F1+': 100 * np.nan_to_num(fore),
            'pooled-F1-': 100 * np.nan_to_num(back),
        }

    def _protocol_bins(self, histogram: np.ndarray) -> np.ndarray:
        """Bins between extra thresholds joined to the protocol's."""
        return np.add.reduceat(histogram, self.protocol[:-1], axis=-1)

    def _histogram(
        self, scores: torch.Tensor, mask: np.ndarray, left_out: np.ndarray | None, edges: np.ndarray | None = None
    ) -> np.ndarray:
        """(2, B) scores of background and foreground, counted on the scores' device."""
        device = scores.device
        ignore = None if left_out is None else torch.from_numpy(left_out).to(device)
        edges = torch.from_numpy(self.edges if edges is None else edges).to(device)
        return score_histogram(scores, torch.from_numpy(mask).to(device), ignore, edges).cpu().numpy()

    def _scores(self, case: Case, label: int) -> torch.Tensor:
        """(H, W) in [0, 1]: by OpenCV on the CPU, as in the protocol; a class map on a GPU stays there."""
        cams = case.sample.get(CAMS)
        if self.localizer == 'cam' and isinstance(cams, torch.Tensor) and cams.is_cuda:
            return upsample_on_device(cams[case.row(label)], self.eval_size, case.grid)
        return torch.from_numpy(case.normalized_map(label, self.localizer, self.eval_size))
