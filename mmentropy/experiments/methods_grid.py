# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One image a row, one method a column: the class maps of a comparison's models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS

from mmentropy.engine.model_loading import load_model
from mmentropy.structures import CAM_LABELS, CAMS, GT_BBOXES, grid_in_picture
from mmentropy.visualization.panels import ComparisonRow, draw_comparison_grid, scale_boxes

from .comparison import Run


def spread_indices(length: int, number: int) -> list[int]:
    """``number`` indices spread evenly over a set, the same for every method."""
    return sorted({int(i) for i in np.linspace(0, length - 1, min(number, length)).round()})


def short_names(names: Sequence[str]) -> list[str]:
    """What tells configs apart: ``resnet50_cub``, ``resnet50_cub_adl`` become ``plain``, ``adl``."""
    words = [name.split('_') for name in names]
    shared = 0
    while len(names) > 1 and all(len(one) > shared and one[shared] == words[0][shared] for one in words):
        shared += 1
    return ['_'.join(one[shared:]) or 'plain' for one in words]


def methods_grid(
    runs: Sequence[Run], samples: int | Sequence[int] = 6, evaluation: str | None = None, **drawing: Any
) -> np.ndarray:
    """Draw the map of the true class by every trained model, and the box that is read from it.

    Args:
        runs: one a column, trained; all see the images of the first one's evaluation.
        samples: how many images, spread over the set, or which ones.
        evaluation: whose images: ``val``, ``test``, or the name of an evaluation; the run's main one by default.
        **drawing: of :func:`~mmentropy.visualization.panels.draw_comparison_grid`.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        FileNotFoundError: for a run that is not trained.
        KeyError: for an evaluation that there is not.
        ValueError: for an image that there is not.
    """
    configs = runs[0].evaluation_configs()
    name = evaluation or ('test' if 'test' in configs else 'val')
    if name not in configs:
        raise KeyError(f'there is no evaluation {name!r}; there are {", ".join(configs)}')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(configs[name].test_dataloader.dataset)
    indices = spread_indices(len(dataset), samples) if isinstance(samples, int) else list(samples)
    strange = [i for i in indices if not 0 <= i < len(dataset)]
    if strange:
        raise ValueError(f'there is no image {strange[0]}: the set has {len(dataset)}, from 0 to {len(dataset) - 1}')
    data = [dataset[i] for i in indices]
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    rows = [_row(item, classes) for item in data]
    for run, column in zip(runs, short_names([run.name for run in runs])):
        model: Any = load_model(run.evaluation_configs()[name], run.checkpoint()).model
        batch = pseudo_collate([dict(item, data_samples=item['data_samples'].clone()) for item in data])
        with torch.no_grad():
            predictions = model.test_step(batch)
        for row, sample in zip(rows, predictions):
            label = int(sample.gt_label[0])
            place = sample.get(CAM_LABELS).tolist().index(label)
            row.maps[column] = sample.get(CAMS)[place].cpu().numpy()
            row.grids[column] = grid_in_picture(sample, row.image.shape[:2])
            share = 100 * float(sample.pred_score[label])
            right = 'right' if int(sample.pred_label[0]) == label else 'wrong'
            row.captions[column] = f'{right}, {share:.0f} %'
    return draw_comparison_grid(rows, **drawing)


def _row(item: dict, classes: Sequence[str] | None) -> ComparisonRow:
    image = item['inputs'].permute(1, 2, 0).numpy()[..., ::-1]  # the hosts' images are BGR
    sample = item['data_samples']
    label = int(sample.gt_label[0])
    boxes = None
    if GT_BBOXES in sample:
        boxes = scale_boxes(sample.get(GT_BBOXES).numpy(), tuple(sample.ori_shape[:2]), image.shape[:2])
    title = classes[label] if classes and label < len(classes) else f'class {label}'
    return ComparisonRow(np.ascontiguousarray(image), {}, boxes, str(title), {})
