# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The visualizer and the hook, through mmengine's registries and backends."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import HOOKS, VISUALIZERS, DefaultScope

from mmentropy.visualization import draw_localization_panel

DataSample = pytest.importorskip('mmpretrain.structures', reason='mmpretrain is not installed').DataSample


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


@pytest.fixture
def make(tmp_path):
    def build(**kwargs):
        # A name of its own: mmengine keeps visualizers by name for the life of the process.
        common = {'type': 'mmentropy.LocalizationVisualizer', 'name': str(tmp_path), 'save_dir': str(tmp_path)}
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            return VISUALIZERS.build({**common, 'tile': 48, **kwargs})

    return build


def test_panel_of_a_sample_shows_the_true_class_and_scaled_boxes(make):
    visualizer = make()
    visualizer.dataset_meta = {'classes': ('a', 'b', 'c', 'd')}
    image = np.full((48, 32, 3), 90, np.uint8)
    one = sample(0)
    panel = visualizer.draw(image, one)
    expected = draw_localization_panel(
        image,
        one.cams[1].numpy(),
        one.entropy_map.numpy(),
        np.array([[8, 4, 24, 40]]),
        titles=('d ✗ b 0.60', 'map: d', 'entropy'),
        tile=48,
    )
    np.testing.assert_array_equal(panel, expected)
    one.set_pred_label(3)
    assert (visualizer.draw(image, one)[:20] != panel[:20]).any()


def test_bare_sample_is_drawn_without_maps(make):
    panel = make().draw(np.full((48, 48, 3), 90, np.uint8), DataSample())
    assert (panel[20:] == 90).all()


@pytest.mark.parametrize('backend', ['LocalVisBackend', 'TensorboardVisBackend'])
def test_backends_get_the_panels(make, tmp_path, backend):
    if backend == 'TensorboardVisBackend':
        pytest.importorskip('tensorboard', reason='tensorboard is not installed')
    visualizer = make(vis_backends=[{'type': backend}])
    image = np.zeros((48, 32, 3), np.uint8)
    panel = visualizer.add_datasample('bird', image, sample(0), step=7)
    visualizer.close()
    if backend == 'LocalVisBackend':
        written = cv2.imread(str(tmp_path / 'vis_data/vis_image/bird_7.png'))[..., ::-1]
        np.testing.assert_array_equal(written, panel)
    else:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / 'vis_data'))
        events.Reload()
        (event,) = events.Images('bird')
        data = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert event.step == 7
        np.testing.assert_array_equal(data, panel)


def run_hook(visualizer, out_dir, phase: str = 'test', **kwargs) -> SimpleNamespace:
    """Seven images in batches of three: 0 1 2 | 3 4 5 | 6."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        hook = HOOKS.build(
            {'type': 'mmentropy.LocalizationVisualizationHook', 'interval': 2, 'out_dir': out_dir, **kwargs}
        )
    runner = SimpleNamespace(visualizer=visualizer, train_loop=None, epoch=4, iter=120)
    getattr(hook, f'before_{phase}_epoch')(runner)
    samples = [sample(i) for i in range(7)]
    image = torch.zeros(3, 48, 32, dtype=torch.uint8)
    image[0] = 200  # the first channel is blue
    for batch, first in enumerate(range(0, 7, 3)):
        part = samples[first : first + 3]
        getattr(hook, f'after_{phase}_iter')(runner, batch, {'inputs': [image] * len(part)}, part)
    return runner


def test_hook_draws_every_nth_image_also_with_a_small_last_batch(make, tmp_path):
    visualizer = make()
    run_hook(visualizer, str(tmp_path / 'panels'), enable=True)
    names = sorted(p.name for p in (tmp_path / 'panels').iterdir())
    assert names == [f'{i:06d}_bird {i}_0.png' for i in (0, 2, 4, 6)]
    blue = cv2.imread(str(tmp_path / 'panels' / names[0]))[40, 10]
    assert blue.tolist() == [200, 0, 0]


def test_hook_uses_the_backends_without_a_folder_and_steps_by_iteration(make, tmp_path):
    run_hook(make(vis_backends=[{'type': 'LocalVisBackend'}]), None, 'val', enable=True)
    names = sorted(p.name for p in (tmp_path / 'vis_data/vis_image').iterdir())
    assert names == [f'{i:06d}_bird {i}_120.png' for i in (0, 2, 4, 6)]


def test_hook_is_off_by_default_and_refuses_nonsense(make, tmp_path):
    run_hook(make(), str(tmp_path / 'panels'))
    assert not (tmp_path / 'panels').exists()
    with pytest.raises(ValueError, match='at least 1'):
        run_hook(make(), None, interval=0)
    with pytest.raises(ValueError, match='channel_order'):
        run_hook(make(), None, channel_order='cmyk')
