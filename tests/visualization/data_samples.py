# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Predictions as the visualizer gets them."""

from __future__ import annotations

import torch
from mmpretrain.structures import DataSample


def sample(number: int) -> DataSample:
    one = DataSample(metainfo={'img_path': f'folder/bird {number}.jpg', 'ori_shape': (96, 64), 'img_shape': (48, 32)})
    one.set_gt_label(3)
    one.set_pred_label(1)
    one.set_pred_score(torch.tensor([0.1, 0.6, 0.2, 0.1]))
    cams = torch.zeros(2, 6, 4)
    cams[1, 1:3, 1:3] = 1
    one.set_field(cams, 'cams')
    one.set_field(torch.tensor([1, 3]), 'cam_labels')
    one.set_field(torch.rand(6, 4), 'entropy_map')
    one.set_field(torch.tensor([[16.0, 8.0, 48.0, 80.0]]), 'gt_bboxes')
    return one
