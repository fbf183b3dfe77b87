# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The visualizer: panels of samples, and mmengine's backends."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from data_samples import sample
from mmpretrain.structures import DataSample

from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import draw_maps
from mmentropy.visualization import LocalizationVisualizer, draw_localization_panel
from mmentropy.visualization.panels import draw_triptych


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


def test_triptych_of_a_sample(make):
    one, image = sample(0), np.full((48, 32, 3), 90, np.uint8)
    titles = ('class 3 ✗ class 1 0.60', 'map: class 3', 'overlap')
    expected = draw_triptych(
        image, one.cams[1].numpy(), np.array([[8, 4, 24, 40]]), titles=titles, tile=48, threshold=0.2
    )
    np.testing.assert_array_equal(make(layout='triptych').draw(image, one), expected)
    with pytest.raises(ValueError, match="layout is 'panel' or 'triptych', got 'wide'"):
        LocalizationVisualizer('another', layout='wide')


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


@pytest.mark.parametrize('size', [(48, 32), (96, 64)])
def test_maps_of_a_sample_are_drawn_where_they_look(make, size):
    """On what the pipeline gave, or on the original image; the batch was padded to 64 columns."""
    image = np.full((*size, 3), 90, np.uint8)
    one = sample(0)
    one.set_field((0.5, 0.5), 'scale_factor', field_type='metainfo')
    one.set_field(MapGrid((0, 0), (8, 16), (48, 64)), 'map_grid')
    panel = make().draw(image, one)
    # The image's columns end before the second location's.
    grid = MapGrid((0, 0), (8, 16), (48, 32))
    cam, entropy = (draw_maps(one.get(name).numpy(), (48, 32), grid) for name in ('cams', 'entropy_map'))
    one.set_field(torch.from_numpy(cam), 'cams')
    one.set_field(torch.from_numpy(entropy), 'entropy_map')
    one.pop('map_grid')
    shown, expected = panel[20:], make().draw(image, one)[20:]
    if size == (48, 32):
        np.testing.assert_array_equal(shown, expected)
    else:
        assert np.abs(shown.astype(int) - expected).mean() < 4
