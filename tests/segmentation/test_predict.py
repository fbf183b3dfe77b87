# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Prediction by a segmenter that is known by heart: scales, mirror images, padding, and the server's archive."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from mmentropy.segmentation import Context
from mmentropy.segmentation.predict import Test, segment_probability


class Brightness:
    """Two classes: the logit of the second is the red channel in [0, 1]; it favours the left half if ``leans``."""

    def __init__(self, leans: bool = False) -> None:
        self.leans, self.seen = leans, []

    def data_preprocessor(self, data: dict) -> dict:
        images = torch.stack(data['inputs']).float() / 255
        self.seen.append(tuple(images.shape))
        return {**data, 'inputs': torch.nn.functional.pad(images, (0, 3, 0, 2))}  # as to a multiple of the stride

    def encode_decode(self, inputs: torch.Tensor, metas: list) -> torch.Tensor:
        assert [meta['img_shape'] for meta in metas] == [tuple(inputs.shape[2:])] * len(inputs)
        red = inputs[:, 2].clone()  # hosts read BGR
        if self.leans:
            red[..., : red.shape[-1] // 2] += 1
        return torch.stack([torch.zeros_like(red), red], dim=1)


@pytest.fixture
def image() -> np.ndarray:
    picture = np.zeros((6, 8, 3), np.uint8)
    picture[:, :4, 0] = 255
    return picture


def test_padding_is_cut_off_and_channels_are_the_hosts(image):
    found = segment_probability(Brightness(), image)
    expected = 1 / (1 + np.exp(-(image[..., 0] / 255.0)))
    assert found.shape == (2, 6, 8)
    np.testing.assert_allclose(found[1], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)


def test_views_are_averaged_after_the_softmax(image):
    model = Brightness()
    found = segment_probability(model, np.full_like(image, 255), scales=(1.0, 0.5), flip=True)
    assert model.seen == [(2, 3, 6, 8), (2, 3, 3, 4)]
    np.testing.assert_allclose(found[1], 1 / (1 + np.exp(-1)), atol=1e-6)


def test_the_mirror_image_is_turned_back(image):
    plain = segment_probability(Brightness(leans=True), np.zeros_like(image))[1]
    both = segment_probability(Brightness(leans=True), np.zeros_like(image), flip=True)[1]
    low, high = 0.5, 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(plain[0], [high] * 5 + [low] * 3, atol=1e-6)  # 11 columns with the padding, 5 lean
    np.testing.assert_allclose(both[0], [(high + low) / 2] * 3 + [high] * 2 + [(high + low) / 2] * 3, atol=1e-6)


def test_archive_of_the_server(voc, tmp_path, monkeypatch):
    monkeypatch.setattr('mmentropy.segmentation.predict.load_host_model', lambda folder, device: Brightness())
    stage = Test(source='segment', split='val')
    result = stage.run(Context(tmp_path, voc, quiet=True, device='cpu'))
    assert result['images'] == 4
    key = voc.ids('val')[0]
    mask = np.array(Image.open(tmp_path / f'test/{key}.png'))
    np.testing.assert_array_equal(mask, voc.image(key)[..., 0] > 0)
    keys = sorted(voc.ids('val'))
    with zipfile.ZipFile(tmp_path / 'test/val_server.zip') as archive:
        assert archive.namelist() == [f'results/VOC2012/Segmentation/comp6_val_cls/{one}.png' for one in keys]
        assert archive.read(archive.namelist()[0]) == (tmp_path / f'test/{keys[0]}.png').read_bytes()
