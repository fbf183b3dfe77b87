# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import json

import numpy as np
import pytest
import torch

pytest.importorskip('onnx', reason='onnx is not installed')
onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')

from mmengine.config import Config  # noqa: E402

from mmentropy.apis import Localizer  # noqa: E402
from mmentropy.apis.export import compare_with_onnxruntime, export_onnx  # noqa: E402
from mmentropy.engine.model_loading import load_model  # noqa: E402
from mmentropy.ops.mapping.geometry import MapGrid  # noqa: E402


def small(neck: dict, to_rgb: bool = True) -> Config:
    backbone = {'type': 'ResNet', 'depth': 18, 'base_channels': 8, 'stem_channels': 8, 'strides': (1, 2, 2, 1)}
    return Config(
        {
            'default_scope': 'mmpretrain',
            'data_preprocessor': {'mean': [120.0, 110, 100], 'std': [60.0, 50, 40], 'to_rgb': to_rgb},
            'model': {
                'type': 'mmentropy.LocalizationClassifier',
                'backbone': backbone,
                'neck': neck,
                'head': {'type': 'mmentropy.CAMHead', 'num_classes': 4, 'in_channels': 64},
            },
        }
    )


@pytest.mark.parametrize('neck', [{'type': 'GlobalAveragePooling'}, {'type': 'mmentropy.EntropyPooling'}])
@pytest.mark.parametrize('to_rgb', [True, False])
def test_onnxruntime_gives_scores_and_maps_of_photographs(tmp_path, neck, to_rgb):
    torch.manual_seed(0)
    loaded = load_model(small(neck, to_rgb), device='cpu', random_weights=True)
    loaded.size = (64, 96)
    module = export_onnx(loaded, tmp_path / 'm.onnx', raw=True)
    assert compare_with_onnxruntime(module, tmp_path / 'm.onnx', loaded.size) < 1e-4
    # From pixels, against the library's own way: another batch size than the export's.
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(tmp_path / 'm.onnx'), providers=['CPUExecutionProvider'])
    scores, maps = session.run(None, {'images': images.transpose(0, 3, 1, 2).astype(np.float32)})
    localizer = Localizer(loaded.model, input_size=(64, 96))
    for one, score, cam in zip(localizer(images, classes='all', progress=False), scores, maps):
        np.testing.assert_allclose(score, one.scores, atol=1e-4)
        np.testing.assert_allclose(cam, one.maps, atol=1e-4 * np.abs(one.maps).max())
    assert [p.name for p in tmp_path.iterdir()] == ['m.onnx']


def test_an_export_of_images_of_all_proportions_asks_for_a_size(tmp_path):
    loaded = load_model(small({'type': 'GlobalAveragePooling'}), device='cpu', random_weights=True)
    loaded.size, loaded.keep_ratio = (64, 256), True
    with pytest.raises(ValueError, match='one input size: give it'):
        export_onnx(loaded, tmp_path / 'm.onnx')
    loaded.fix_size((64, 96))
    assert export_onnx(loaded, tmp_path / 'm.onnx').anatomy.channels == 64


def test_the_file_says_where_its_maps_look(tmp_path):
    loaded = load_model(small({'type': 'GlobalAveragePooling'}), device='cpu', random_weights=True)
    loaded.size = (64, 96)
    export_onnx(loaded, tmp_path / 'm.onnx')
    session = onnxruntime.InferenceSession(str(tmp_path / 'm.onnx'), providers=['CPUExecutionProvider'])
    stored = session.get_modelmeta().custom_metadata_map['map_grid']
    # A ResNet's padded convolutions look at every 16th pixel, from the first on.
    assert MapGrid.from_array(json.loads(stored)) == MapGrid((0, 0), (16, 16), (64, 96))
