# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Visual questions on images whose answers are known, with a network that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmentropy.engine.model_loading import LoadedModel
from mmentropy.experiments.analysis import FeatureReader
from mmentropy.experiments.questions import QuestionAnswerer, words_of


@pytest.fixture(scope='module')
def reader() -> FeatureReader:
    """Its features are the colours: red, green and blue, averaged over 4×4 cells."""
    conv = nn.Conv2d(3, 3, 4, 4, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 4, 4) / 16)
    model = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    return FeatureReader(LoadedModel(model, size=(16, 16), mean=(0, 0, 0), std=(1, 1, 1)))


def image(color: int, corner: bool = False) -> np.ndarray:
    """One colour everywhere, or in the upper left quarter alone."""
    out = np.zeros((16, 16, 3), np.uint8)
    side = 8 if corner else 16
    out[:side, :side, color] = 255
    return out


def test_answers_follow_image_and_question(reader):
    images = [image(c) for c in (0, 1)] * 4
    questions = ['What colour is it?'] * 4 + ['Is it blue?'] * 4
    answers = ['red', 'green'] * 2 + ['no'] * 4
    model = QuestionAnswerer(reader).fit(images, questions, answers)
    asked = model.ask([image(0), image(1), image(1)], ['what colour is it', 'what colour is it', 'is it blue'])
    assert [one.text for one in asked] == ['red', 'green', 'no']
    assert all(0.5 < one.probability <= 1 for one in asked)


def test_map_is_the_answers_weight_on_the_features(reader):
    model = QuestionAnswerer(reader).fit([image(0), image(1), image(2)] * 2, ['?'] * 6, ['red', 'green', 'blue'] * 2)
    (one,) = model.ask([image(0, corner=True)], ['?'])
    assert one.text == 'red'
    features = reader.feature_maps([image(0, corner=True)])[0].maps
    expected = np.einsum('d,dhw->hw', model.weight[model.answers.index('red')][:3], features)
    np.testing.assert_allclose(one.map.maps[0], expected)
    assert expected[0, 0] > 0.5
    assert np.abs(expected[2:, 2:]).max() < 1e-6


def test_rare_answers_are_left_out_and_two_are_needed(reader):
    images, questions = [image(0), image(1), image(2)] * 2, ['?'] * 6
    model = QuestionAnswerer(reader, answers=2).fit(images, questions, ['a', 'b', 'c', 'a', 'b', 'd'])
    assert model.answers == ['a', 'b']
    with pytest.raises(ValueError, match='two answers or more'):
        QuestionAnswerer(reader).fit(images, questions, ['a'] * 6)
    with pytest.raises(ValueError, match='6 images came with 1 questions'):
        QuestionAnswerer(reader).fit(images, ['?'], ['a'] * 6)
    with pytest.raises(ValueError, match='call fit first'):
        QuestionAnswerer(reader).ask(images, questions)


def test_words():
    assert words_of('Is that a T-shirt?') == ['is', 'that', 'a', 't', 'shirt']
