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
from mmentropy.ops.mapping.scaling import upsample_map
from mmentropy.ops.masks import IGNORE_LABEL
from mmentropy.registry import METRICS
from mmentropy.structures import CAM_LABELS, CAMS, GT_CLASS_MASKS, GT_MASK, GT_SEG_MAP, IGNORE_MASK

from .box_localization import class_row, ground_truth_labels, localizing_map
from .counting import UNIT, CountingMetric, Counts, field, name_of, to_numpy
from .thresholds import given_thresholds

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
        threshold: ``oracle``; a number, or one for each of 'IoU', 'F1+', 'pooled-IoU', 'pooled-F1+'.
        threshold_from: JSON of another split's figures.

    Reads ``gt_mask`` and, where they are, ``gt_class_masks``, ``gt_seg_map`` and ``ignore_mask``;
    maps on a GPU are evaluated there. Results are per cent.
    """

    def __init__(
        self,
        localizer: str = 'cam',
        cam_interval: float = 0.001,
        eval_size: int | tuple[int, int] = 224,
        threshold: str | float | Mapping[str, float] = 'oracle',
        threshold_from: str | Path | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.localizer = current_localizer(localizer)
        height, width = (eval_size, eval_size) if isinstance(eval_size, int) else eval_size
        self.eval_size = (int(height), int(width))
        self.given = given_thresholds(CHOSEN, threshold, threshold_from, self.prefix)
        extra = [value for chosen in self.given.values() for value in chosen.values()]
        self.edges, self.protocol = histogram_edges(cam_interval, extra)

    def count(self, sample: dict) -> Counts:
        """The score histogram of one image, and of each of its classes; its scores at every threshold, fixed point."""
        labels = ground_truth_labels(sample, self)
        try:
            mask = resize_mask(to_numpy(field(sample, GT_MASK, self)), self.eval_size)
            masks = self._class_masks(sample, labels)
            ignore = self._ignored(sample)
            maps = [self._scores(sample, label) for label in labels]
            histogram = self._histogram(torch.stack(maps).amax(0) if len(maps) > 1 else maps[0], mask, ignore)
            by_class = [histogram] * len(labels)
            if masks is not None and not (len(masks) == 1 and np.array_equal(masks[0], mask)):
                by_class = [self._histogram(*pair, ignore) for pair in zip(maps, masks)]
        except ValueError as error:
            raise ValueError(f'{name_of(sample)}: {error}') from error
        confusion = confusions(histogram)
        per_image = np.stack([iou_score(confusion), *dice_scores(confusion)])
        return {
            'images': np.array(1),
            'union_only': np.array(masks is None),
            'histogram': histogram,
            **{f'{CLASS}{label}': one for label, one in zip(labels, by_class)},
            'scores': np.round(np.nan_to_num(per_image) * UNIT).astype(np.int64),
            'scored': (~np.isnan(per_image[:, 0])).astype(np.int64),
        }

    def _histogram(self, scores: torch.Tensor, mask: np.ndarray, ignore: np.ndarray | None) -> np.ndarray:
        """(2, B) scores of background and foreground, counted on the scores' device."""
        device = scores.device
        left_out = None if ignore is None else torch.from_numpy(ignore).to(device)
        edges = torch.from_numpy(self.edges).to(device)
        return score_histogram(scores, torch.from_numpy(mask).to(device), left_out, edges).cpu().numpy()

    def _class_masks(self, sample: dict, labels: list[int]) -> list[np.ndarray] | None:
        """(H, W) bool of each label's own object; None where only the union of several is known."""
        if sample.get(GT_CLASS_MASKS) is not None:
            masks = to_numpy(sample[GT_CLASS_MASKS])
            if len(masks) != len(labels):
                raise ValueError(f'{GT_CLASS_MASKS} holds {len(masks)} masks for the {len(labels)} labels {labels}')
        elif sample.get(GT_SEG_MAP) is not None:
            seg_map = to_numpy(sample[GT_SEG_MAP])
            masks = [seg_map == label + 1 for label in labels]
        elif len(labels) == 1:
            masks = [to_numpy(sample[GT_MASK])]
        else:
            return None
        return [resize_mask(mask, self.eval_size) for mask in masks]

    def _ignored(self, sample: dict) -> np.ndarray | None:
        """(H, W) bool of the pixels left out unless they are foreground; None without any."""
        ignore = None if sample.get(IGNORE_MASK) is None else to_numpy(sample[IGNORE_MASK])
        if sample.get(GT_SEG_MAP) is not None:
            border = to_numpy(sample[GT_SEG_MAP]) == IGNORE_LABEL
            ignore = border if ignore is None else border | (ignore > 0)
        return None if ignore is None else resize_mask(ignore, self.eval_size)

    def figures(self, totals: Counts) -> dict[str, float]:
        """Percentages and thresholds."""
        pooled = totals['histogram']
        classes = sorted(name for name in totals if name.startswith(CLASS))  # one order in every process
        by_class = [average_precision(self._protocol_bins(totals[name])) for name in classes]
        by_class = [value for value in by_class if value is not None]
        if not by_class:
            raise ValueError('PixelLocalizationMetric: no image of the split has a foreground pixel in its gt_mask')
        by_class_name = 'classwise-union-PxAP' if totals['union_only'] else 'mPxAP'
        results = {'PxAP': average_precision(self._protocol_bins(pooled)), by_class_name: float(np.mean(by_class))}
        results |= {'empty_masks': int(totals['images'] - totals['scored'][0])}
        results |= {'full_masks': int(totals['images'] - totals['scored'][2])}
        curves = self._curves(totals, confusions(pooled))
        grid = self.protocol[:-3]  # thresholds below 1
        best = {name: int(grid[curves[name][grid].argmax()]) for name in CHOSEN}
        results |= {f'Max{name}': float(curves[name][best[name]]) for name in CHOSEN}
        results |= {f'{name}@oracle': float(curves[name][best[other]]) for name, other in COMPANIONS.items()}
        results |= {f'threshold@{name}': float(self.edges[index]) for name, index in best.items()}
        for suffix, chosen in self.given.items():
            at = {name: int(np.searchsorted(self.edges, value)) for name, value in chosen.items()}
            at |= {name: at[other] for name, other in COMPANIONS.items() if other in at}
            results |= {f'{name}@{suffix}': float(curves[name][index]) for name, index in at.items()}
            results |= {f'threshold@{name}@{suffix}': value for name, value in chosen.items()}
        return results

    def _curves(self, totals: Counts, pooled: np.ndarray) -> dict[str, np.ndarray]:
        """Each score over all edges, in per cent."""
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

    def _scores(self, sample: dict, label: int) -> torch.Tensor:
        """(H, W) in [0, 1]: by OpenCV on the CPU, as in the protocol; a class map on a GPU stays there."""
        cams = sample.get(CAMS)
        if self.localizer == 'cam' and isinstance(cams, torch.Tensor) and cams.is_cuda:
            row = class_row(field(sample, CAM_LABELS, self), label, sample)
            return upsample_on_device(cams[row], self.eval_size)
        return torch.from_numpy(upsample_map(localizing_map(sample, label, self.localizer, self), self.eval_size))
