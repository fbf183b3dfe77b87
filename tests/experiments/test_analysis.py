# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Probes, crops, units and patterns on a network whose features are known: how much of each colour a cell holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmentropy.engine.model_loading import LoadedModel
from mmentropy.experiments.analysis import (
    CROPS,
    FeatureReader,
    Photo,
    by_cam,
    by_truth,
    class_units,
    crop,
    dataset_features,
    discover_patterns,
    linear_svm,
    photos,
)


class Colours(nn.Module):
    """Three units, red, green and blue; class k reads unit k with weight 1 and the others with -0.1 (k + 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, 3, 8, 8, bias=False)
        self.fc = nn.Linear(3, 3, bias=False)
        self.cells.weight.data.zero_()
        for k in range(3):
            self.cells.weight.data[k, k] = 1 / 64
            self.fc.weight.data[k] = -0.1 * (k + 1)
            self.fc.weight.data[k, k] = 1

    def forward(self, x):
        return self.fc(self.cells(x).mean((2, 3)))


class Squares:
    """Image i: a square of colour i % 3 (its class) and a smaller one of the next colour; both have a box."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def get_data_info(self, i: int) -> dict:
        label = i % 3
        image = np.zeros((64, 96, 3), np.uint8)
        x = 8 * (i % 5)
        image[16:48, x : x + 32, label] = 200 + i
        image[0:16, 80:96, (label + 1) % 3] = 150
        boxes = [[x, 16, x + 32, 48], [80, 0, 96, 16]]
        return {
            'img': image[..., ::-1],
            'gt_label': label,
            'gt_bboxes': boxes,
            'gt_bbox_labels': [label, (label + 1) % 3],
        }


@pytest.fixture
def reader():
    torch.manual_seed(0)
    return FeatureReader(LoadedModel(Colours().eval(), (64, 96), mean=(0, 0, 0), std=(1, 1, 1)))


class Turned:
    """One photograph of a camera held upright: stored lying, 40 wide and 20 high, the EXIF tag says to turn it."""

    BOX = (4, 2, 36, 10)  # in stored pixels

    def __init__(self, folder: Path) -> None:
        image = np.zeros((20, 40, 3), np.uint8)
        x0, y0, x1, y1 = self.BOX
        image[y0:y1, x0:x1] = (250, 10, 10)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(image).save(folder / 'turned.png', exif=exif)
        self.path = str(folder / 'turned.png')

    def __len__(self) -> int:
        return 1

    def get_data_info(self, i: int) -> dict:
        return {'img_path': self.path, 'gt_label': 0, 'gt_bboxes': [self.BOX]}


def test_an_image_is_read_as_its_boxes_are_stored(tmp_path):
    (photo,) = photos(Turned(tmp_path))
    assert photo.image.shape == (20, 40, 3)
    (found,) = by_truth(None, [photo])
    assert found.shape == (8, 32, 3)
    assert (found == (250, 10, 10)).all()


def test_features_are_what_the_classifier_reads(reader):
    items = list(photos(Squares(4)))
    expected = [photo.image.mean((0, 1)) / 255 for photo in items]
    features, labels = dataset_features(reader, items, batch_size=3)
    np.testing.assert_allclose(features, expected, atol=1e-6)
    assert labels.tolist() == [0, 1, 2, 0]
    assert len(list(photos(Squares(10), limit=4))) == 4
    with pytest.raises(ValueError, match='empty'):
        dataset_features(reader, [])


def test_crops():
    image = np.arange(48).reshape(6, 8)
    np.testing.assert_array_equal(crop(image, np.array([2, 1, 5, 4])), image[1:4, 2:5])
    np.testing.assert_array_equal(crop(image, np.array([2.0, 2, 4, 4]), context=1), image[1:5, 1:5])
    np.testing.assert_array_equal(crop(image, np.array([7.5, 5.5, 20, 20])), image[5:, 7:])
    assert crop(image, None) is image


def test_cam_crop_is_the_square_of_the_predicted_class(reader):
    batch = list(photos(Squares(6)))
    for photo, found in zip(batch, by_cam(reader, batch, 0.5)):
        label = photo.labels[0]
        assert np.abs(np.array(found.shape[:2]) - 32).max() <= 8
        assert (found[..., label] > 0).mean() > 0.7
    truth = CROPS['crop by the true box'](reader, batch)
    assert all((one[..., photo.labels[0]] > 0).all() and one.shape == (32, 32, 3) for one, photo in zip(truth, batch))


def test_boxes_of_crops_and_units_are_cut_at_a_share_of_the_maximum():
    """A small square of 1 in a wide one of 0.4, on 0; the network takes 0.5 off, so zero lies above the wide square."""
    shifted = FeatureReader(LoadedModel(Colours().eval(), (64, 96), mean=(0.5,) * 3, std=(1, 1, 1)))
    image = np.zeros((64, 96, 3), np.uint8)
    image[8:56, 16:64, 0] = 102
    image[24:40, 32:48, 0] = 255
    batch = [Photo(image, np.array([0]), np.zeros((0, 4)), np.zeros(0, int), 'a')]
    for normalize, side in (('max', 16), ('minmax', 48)):
        (found,) = by_cam(shifted, batch, 0.2, normalize)
        np.testing.assert_allclose(found.shape[:2], side, atol=6)
        ((_, _, (region,)),) = class_units(shifted, batch, 0, units=1, images=1, threshold=0.2, normalize=normalize)
        np.testing.assert_allclose(region.box[2:] - region.box[:2], side, atol=6)
    assert by_cam(shifted, batch, 0.2)[0].shape == by_cam(shifted, batch, 0.2, 'max')[0].shape


def test_linear_svm_separates_what_is_separable_and_not_what_is_not(reader):
    pytest.importorskip('sklearn', reason='scikit-learn is not installed')
    train, test = (dataset_features(reader, photos(Squares(n))) for n in (30, 12))
    assert linear_svm(train, test) == 100
    shuffled = np.random.default_rng(0).integers(0, 3, 300)
    noise = np.random.default_rng(1).normal(size=(300, 4))
    assert linear_svm((noise[:150], shuffled[:150]), (noise[150:], shuffled[150:])) < 50


def test_units_of_a_class_and_the_regions_that_excite_them(reader):
    found = class_units(reader, photos(Squares(9)), label=1, units=2, images=2, batch_size=4)
    assert found[0][0] == 1
    assert found[0][1] == pytest.approx(1)
    assert found[1][1] == pytest.approx(-0.2)
    regions = found[0][2]
    # The brightest squares of colour 1 are those of images 7 and 4.
    assert [region.name for region in regions] == ['7', '4']
    assert regions[0].value == pytest.approx(207 / 255, abs=1e-5)
    np.testing.assert_allclose(regions[0].box, [16, 16, 48, 48], atol=4)


def test_patterns_name_the_object_under_the_map(reader):
    found = discover_patterns(reader, photos(Squares(9)))
    for label in range(3):
        first, second = found[label]
        assert (first.label, first.images, first.frequency) == (label, 3, 1)
        assert second.label == (label + 1) % 3
        assert first.share > 0.7
        assert second.share < 0.1


def test_patterns_are_ranked_by_how_often_they_overlap(reader):
    """A small object inside the square of every image, and one that holds all of the square in one image of three."""
    often, seldom, items = 1, 2, []
    for i, photo in enumerate(p for p in photos(Squares(9)) if p.labels[0] == 0):
        x = photo.boxes[0, 0]
        boxes = np.array([[x + 12, 28, x + 16, 32], [x, 16, x + 32, 48]], np.float32)[: 1 + (i == 0)]
        items.append(Photo(photo.image, photo.labels, boxes, np.array([often, seldom])[: len(boxes)], photo.name))
    first, second = discover_patterns(reader, items)[0]
    assert (first.label, first.frequency, first.images) == (often, 1, 3)
    assert (second.label, second.frequency, second.images) == (seldom, pytest.approx(1 / 3), 1)
    assert second.share > 5 * first.share
