# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the hook keeps of a test."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mmentropy.ops.localizing.map_boxes import boxes_from_map
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import draw_maps
from mmentropy.visualization import ReportHook
from mmentropy.visualization.report import describe
from mmentropy.visualization.report_data import ReportData


def test_hook_keeps_figures_of_all_and_pictures_of_some(tmp_path):
    def output(i: int) -> DataSample:
        one = DataSample(metainfo={'img_path': f'a/b/{i}.png', 'ori_shape': (100, 50)})
        one.set_gt_label(1).set_pred_score(torch.tensor([0.3, 0.7]))
        cams = torch.zeros(2, 7, 7)
        cams[1, 1:4, 2:5] = 1
        for value, name in [(cams, 'cams'), (torch.tensor([0, 1]), 'cam_labels'), (torch.tensor(0.25), 'entropy')]:
            one.set_field(value, name)
        return one.set_field(torch.tensor([[10.0, 10, 30, 60]]), 'gt_bboxes') or one

    dataset = type('Five', (), {'metainfo': {'classes': ('a', 'b')}, '__len__': lambda self: 5})()
    loader = SimpleNamespace(dataset=dataset)
    config = SimpleNamespace(pretty_text='x = 1', get=lambda key: 'last.pth')
    runner = SimpleNamespace(test_dataloader=loader, work_dir=str(tmp_path), cfg=config, experiment_name='e')
    hook = ReportHook(max_images=2, thumb=20)
    hook.before_test_epoch(runner)
    image = torch.zeros(3, 40, 20, dtype=torch.uint8)
    image[2] = 200  # red, last in BGR
    hook.after_test_iter(runner, 0, {'inputs': [image] * 3}, [output(i) for i in range(3)])
    hook.after_test_iter(runner, 1, {'inputs': [image] * 2}, [output(i) for i in range(3, 5)])
    hook.after_test_epoch(runner, {'accuracy': 60.0})
    data = ReportData.load(tmp_path / 'report.npz')
    assert [s.thumb is not None for s in data.samples] == [True, False, False, True, False]
    first = data.samples[0]
    assert (first.name, first.label, first.prediction, first.entropy) == ('b/0.png', 1, 1, 0.25)
    assert first.score == pytest.approx(0.7)
    np.testing.assert_allclose(first.boxes, [[0.2, 0.1, 0.6, 0.6]], atol=1e-6)
    assert first.cam.max() == 255
    shown = cv2.imdecode(np.frombuffer(first.thumb, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (20, 10, 3)
    assert shown[10, 5, 2] > 180
    assert shown[10, 5, 0] < 40
    # The map's block is columns 2 to 5 and rows 1 to 4 of 7: at a high threshold its box meets the true one.
    assert first.best_iou.max() > 0.5
    assert data.metrics == {'accuracy': 60.0}


def test_boxes_are_read_where_the_map_looks():
    """A map whose grid is half a step off meets the true box only in its place."""
    one = DataSample(metainfo={'img_path': 'a.png', 'ori_shape': (70, 70)})
    one.set_gt_label(0)
    cam = torch.zeros(1, 7, 7)
    cam[0, 2:5, 2:5] = 1
    grid = MapGrid((0, 0), (10, 10), (70, 70))
    drawn = draw_maps(cam[0].numpy(), (224, 224), grid, 'cubic')
    box = boxes_from_map(drawn, 0.5)[0] * 70 / 224
    fields = [(cam, 'cams'), (torch.tensor([0]), 'cam_labels'), (torch.tensor(box)[None], 'gt_bboxes')]
    for value, name in [*fields, (grid, 'map_grid')]:
        one.set_field(value, name)
    kept = ReportHook().sample(None, one)
    assert kept.best_iou.max() > 0.95
    assert describe(kept, 0.5)['iou'] > 0.9
    plain = ReportHook(grid='half_pixel').sample(None, one)
    assert plain.best_iou.max() < 0.75
    assert describe(plain, 0.5)['iou'] < 0.75
    assert plain.grid is None
    with pytest.raises(ValueError, match='grid must be one of'):
        ReportHook(grid='followed')
