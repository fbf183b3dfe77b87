# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Asking a model about altered images: in whatever batches, each copy once, the first steps first."""

from __future__ import annotations

import pytest
import torch

from mmentropy.ops.faithfulness.scoring import (
    Alteration,
    alteration_scores,
    check_classes,
    check_maps,
    class_logits,
    class_scores,
    constant_maps,
    image_scores,
    usual_batch,
)
from mmentropy.ops.mapping.score_functions import SCORE_FUNCTIONS


class Plus(Alteration):
    def __init__(self, steps):
        self.steps = torch.tensor(steps)
        self.count = len(steps)

    def make(self, images, rows, steps):
        return images[rows] + self.steps[steps].view(-1, 1, 1, 1)


class Counting:
    """Logits of two classes: the first pixel's first two channels; remembers what it saw."""

    def __init__(self):
        self.batches = []

    def __call__(self, images):
        self.batches.append(images[:, 0, 0, 0].tolist())
        return images[:, :2, 0, 0]


@pytest.mark.parametrize('batch_size', [1, 4, 100])
def test_every_copy_is_asked_once_whatever_the_batch(batch_size):
    images = torch.tensor([0.0, 100.0]).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    model = Counting()
    series = {'a': Plus([1.0, 2.0, 3.0]), 'b': Plus([10.0])}
    found = alteration_scores(model, images, torch.tensor([0, 1]), series, 'logit', batch_size)
    assert found['a'].tolist() == [[1, 2, 3], [101, 102, 103]]
    assert found['b'].tolist() == [[10], [110]]
    seen = [value for batch in model.batches for value in batch]
    assert sorted(seen) == [1, 2, 3, 10, 101, 102, 103, 110]
    assert max(len(batch) for batch in model.batches) <= batch_size
    if batch_size == 1:  # the first steps of all series and images come first
        assert seen == [1, 101, 10, 110, 2, 102, 3, 103]


def test_scores_are_probabilities_of_the_class():
    logits, classes = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1, 1])
    by_hand = logits.exp() / logits.exp().sum(1, keepdim=True)
    torch.testing.assert_close(class_scores(logits, classes), by_hand[:, 1])
    torch.testing.assert_close(class_scores(logits, classes, 'sigmoid'), 1 / (1 + (-logits[:, 1]).exp()))
    assert class_scores(logits, classes, 'logit').tolist() == [1.0, 0.0]
    assert class_scores(logits, classes, 'margin').tolist() == [1.0, -2.0]
    images = torch.zeros(2, 3, 4, 4)
    difference = lambda logits, table: logits[:, 1] - logits[:, 0]  # noqa: E731
    assert image_scores(lambda x: logits, images, classes, difference)[0].tolist() == [1.0, -2.0]
    assert image_scores(lambda x: logits, images, classes, SCORE_FUNCTIONS['margin'])[0].tolist() == [1.0, -2.0]


def test_every_score_of_the_explainers_is_one_here():
    logits, classes = torch.randn(3, 5), torch.tensor([4, 0, 2])
    for name, function in SCORE_FUNCTIONS.items():
        one_by_one = [function(logits[i : i + 1], classes[i : i + 1, None]).item() for i in range(3)]
        torch.testing.assert_close(class_scores(logits, classes, name), torch.tensor(one_by_one))


def test_the_output_of_a_regression_is_a_score():
    found = image_scores(lambda x: x.mean((1, 2, 3))[:, None], torch.ones(2, 3, 4, 4), torch.tensor([0, 0]), 'logit')
    assert found[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ('function', 'given'),
    [
        (lambda logits, table: logits, r'torch.float32 \(2, 3\)'),
        (lambda logits, table: logits.argmax(1), r'torch.int64 \(2,\)'),
        (lambda logits, table: logits.sum(), r'torch.float32 \(\)'),
        (lambda logits, table: 1.0, 'got float'),
    ],
)
def test_a_function_that_gives_no_number_an_image_is_named(function, given):
    with pytest.raises(ValueError, match=given):
        class_scores(torch.zeros(2, 3), torch.tensor([0, 1]), function)


def test_batches_suit_the_device_and_the_images():
    sizes = {224: 8, 448: 2, 1000: 1, 160: 15, 32: 32}
    assert {size: usual_batch(torch.empty(1, 3, size, size)) for size in sizes} == sizes
    assert usual_batch(torch.empty(1, 3, 448, 448, device='meta')) == 32
    model = Counting()
    alteration_scores(model, torch.zeros(1, 3, 160, 160), torch.tensor([0]), {'a': Plus([0.0] * 20)}, 'logit')
    assert [len(batch) for batch in model.batches] == [15, 5]


def test_the_predicted_class_is_taken_where_none_is_given():
    scores, classes = image_scores(Counting(), torch.eye(2).view(2, 2, 1, 1), None, 'logit', batch_size=1)
    assert classes.tolist() == [0, 1]
    assert scores.tolist() == [1, 1]


@pytest.mark.parametrize(
    'wrap', [lambda t: t, lambda t: (t,), lambda t: [None, t], lambda t: {'logits': t}, lambda t: {'out': t}]
)
def test_outputs_may_be_wrapped(wrap):
    assert class_logits(lambda x: wrap(torch.ones(2, 3)), torch.zeros(2, 3, 4, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    ('output', 'sentence'),
    [
        ({'something': torch.zeros(2, 3)}, 'must give .* it gave no tensor'),
        ('text', 'it gave no tensor'),
        (torch.zeros(2, 3, 4, 4), r'must give \(N, C\) logits to be asked about an image'),
        (torch.zeros(5, 3), r'it gave \(5, 3\) for 2 image'),
        (torch.zeros(2, 1), "has one class, whose softmax is 1 for every image: take score='sigmoid'"),
    ],
)
def test_outputs_that_are_no_logits_are_named(output, sentence):
    with pytest.raises(ValueError, match=sentence):
        class_logits(lambda x: output, torch.zeros(2, 3, 4, 4))


def test_one_class_has_a_sigmoid():
    assert class_logits(lambda x: torch.zeros(2, 1), torch.zeros(2, 3, 4, 4), 'sigmoid').shape == (2, 1)


@pytest.mark.parametrize(
    ('maps', 'options', 'sentence'),
    [
        (torch.zeros(2, 4, 5), {}, r'maps must be a tensor \(2, 4, 4\), one map an image and as large'),
        (torch.zeros(1, 4, 4), {}, r'got \(1, 4, 4\)'),
        ([[0.0]], {}, 'got list'),
        (torch.tensor([0.0, torch.nan]).view(2, 1, 1).expand(2, 4, 4), {}, 'map 1 of the batch holds NaN'),
        (torch.tensor([0.0, 2.0]).view(2, 1, 1).expand(2, 4, 4), dict(unit=True), r'map 1 .* not within \[0, 1\]'),
        (torch.zeros(2, 4, 4), dict(ordered=True), 'map 0 of the batch is constant'),
    ],
)
def test_maps_that_do_not_fit_are_named(maps, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_maps(torch.zeros(2, 3, 4, 4), maps, **options)


def test_constant_maps_are_found():
    maps = torch.zeros(3, 2, 2)
    maps[1, 0, 1] = 1e-6
    assert constant_maps(maps).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ('classes', 'sentence'),
    [
        ([0, 5], 'class 5 does not exist: the model has the classes 0 to 2'),
        ([0, -1], 'class -1 does not exist'),
        ([0], r'one an image \(2\)'),
        ([0.0, 1.0], 'whole numbers'),
    ],
)
def test_classes_that_do_not_exist_are_named(classes, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_classes(torch.tensor(classes), torch.zeros(2, 3))


def test_a_wrong_score_or_batch_size_is_named():
    with pytest.raises(ValueError, match='score must be one of logit, probability, log_probability, sigmoid'):
        class_scores(torch.zeros(1, 3), torch.tensor([0]), 'softmax')
    with pytest.raises(ValueError, match='batch_size counts images'):
        image_scores(Counting(), torch.zeros(1, 3, 2, 2), batch_size=0)
