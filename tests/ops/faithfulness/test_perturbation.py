# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Drop, deletion, insertion and ROAD: closed forms of models that can be read by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dense_imputation import dense
from hypothesis import given, settings
from hypothesis import strategies as st

from mmentropy.ops.faithfulness.perturbation import (
    PERTURBATIONS,
    baseline_image,
    noise_of,
    perturbation_scores,
    removal_counts,
    removal_ranks,
)


class Linear:
    """The logit of class 0 is the sum of w ⊙ x over the first channel; class 1 is 0."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, images):
        score = (images[:, 0] * self.weight).sum((1, 2))
        return torch.stack([score, torch.zeros_like(score)], 1)


def example(seed=0, n=2, size=6):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 3, size, size, generator=generator) + 0.1
    maps = torch.rand(n, size, size, generator=generator)
    return images, maps, Linear(torch.rand(size, size, generator=generator))


CLASSES = torch.tensor([0, 0])


def test_the_deletion_curve_of_a_linear_model_is_a_sum_of_what_is_left():
    images, maps, model = example()
    found = perturbation_scores(
        model, images, maps, CLASSES, ['deletion', 'insertion'], 36, insertion_baseline='zero', score='logit'
    )
    for i in range(2):
        parts = (images[i, 0] * model.weight).flatten().double().numpy()
        order = np.argsort(-maps[i].flatten().numpy(), kind='stable')
        inserted = np.concatenate([[0], np.cumsum(parts[order])])
        np.testing.assert_allclose(found.insertion.scores[i], inserted, atol=1e-5)
        np.testing.assert_allclose(found.deletion.scores[i], parts.sum() - inserted, atol=1e-5)
        area = np.trapezoid(inserted, np.arange(37) / 36)
        np.testing.assert_allclose(found.insertion.area[i], area, atol=1e-5)
    # By the model's own parts as a map no order deletes faster.
    own = images[:, 0] * model.weight
    best = perturbation_scores(model, images, own, CLASSES, ['deletion'], 36, score='logit').deletion.area
    assert (best <= found.deletion.area).all()


def test_a_model_that_reads_one_pixel():
    images = torch.full((1, 3, 4, 4), 2.0)
    model = Linear(torch.zeros(4, 4).index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(1.0)))
    right = torch.zeros(1, 4, 4)
    right[0, 1, 2] = 1
    wrong = torch.zeros(1, 4, 4)
    wrong[0, 3, 3] = 1
    options = dict(steps=16, score='logit', insertion_baseline='zero', road_noise=0.0, which=PERTURBATIONS)
    images[0, :, 1, 2] = 10.0
    good = perturbation_scores(model, images, right, torch.tensor([0]), **options)
    bad = perturbation_scores(model, images, wrong, torch.tensor([0]), **options)
    assert (good.drop.item(), bad.drop.item()) == (0.0, 1.0)
    assert good.deletion.scores.tolist() == [[10] + [0] * 16]
    assert good.insertion.scores.tolist() == [[0] + [10] * 16]
    # The pixel before it in the order of reading goes first, then this one: the eighth.
    assert bad.deletion.scores.tolist() == [[10] * 8 + [0] * 9]
    # Its neighbours, which are all 2, fill it in.
    torch.testing.assert_close(good.road_most[0, :1], torch.tensor([2.0]), atol=1e-3, rtol=0)
    assert (good.road_least == 10).all()
    assert bad.road_least[0, -1] < 10


def test_the_drop_is_the_share_that_is_lost():
    images, maps, model = example()
    found = perturbation_scores(model, images, maps, CLASSES, ['drop'])
    before = model(images).softmax(1)[:, 0]
    behind = model(images * maps[:, None]).softmax(1)[:, 0]
    torch.testing.assert_close(found.drop, (before - behind) / before)
    assert found.increase.tolist() == [0, 0]
    negative = Linear(-model.weight)
    raised = perturbation_scores(negative, images, maps, CLASSES, ['drop'])
    assert raised.drop.tolist() == [0, 0]
    assert raised.increase.tolist() == [1, 1]


def test_road_is_the_score_of_images_filled_in_by_a_dense_solve():
    images, maps, model = example()
    fractions = (0.25, 0.5, 0.75)
    found = perturbation_scores(
        model, images, maps, CLASSES, ['road'], road_fractions=fractions, road_noise=0.0, score='logit'
    )
    for i in range(2):
        order = np.argsort(-maps[i].flatten().numpy(), kind='stable')
        for j, fraction in enumerate(fractions):
            for scores, first in ((found.road_most, order), (found.road_least, order[::-1])):
                removed = np.zeros(36, bool)
                removed[first[: round(36 * fraction)]] = True
                filled = torch.from_numpy(dense(images[i].numpy(), removed.reshape(6, 6))).float()
                torch.testing.assert_close(scores[i, j], model(filled[None])[0, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(found.road, (found.road_least - found.road_most).mean(1) / 2)


def test_road_noise_belongs_to_the_image_not_to_its_place():
    images, maps, model = example()
    options = dict(which=['road'], road_noise=0.5, road_fractions=(0.5,), score='logit')
    both = perturbation_scores(model, images, maps, CLASSES, seeds=[3, 9], **options)
    alone = perturbation_scores(model, images[1:], maps[1:], CLASSES[1:], seeds=[9], **options)
    torch.testing.assert_close(both.road_most[1:], alone.road_most, atol=1e-4, rtol=0)
    other = perturbation_scores(model, images[1:], maps[1:], CLASSES[1:], seeds=[4], **options)
    assert not torch.allclose(other.road_most, alone.road_most, atol=1e-4)
    assert noise_of(images, 0.5, [1, 2]).std().item() == pytest.approx(0.5, abs=0.05)


class Forwards:
    def __init__(self, model):
        self.model, self.images, self.calls = model, 0, 0

    def __call__(self, images):
        self.images, self.calls = self.images + len(images), self.calls + 1
        return self.model(images)


def test_no_image_is_asked_about_twice():
    images, maps, model = example()
    counted = Forwards(model)
    perturbation_scores(counted, images, maps, CLASSES, steps=6, insertion_baseline='zero', batch_size=16)
    # Each: itself, behind its map, 5 inner points of two curves, one empty image, 2 × 9 of ROAD.
    assert counted.images == 2 * (1 + 1 + 2 * 5 + 1 + 18)
    assert counted.calls == 1 + -(-60 // 16)
    counted = Forwards(model)
    perturbation_scores(counted, images, maps, CLASSES, ['deletion', 'insertion'], steps=6)
    assert counted.images == 2 * (1 + 2 * 5 + 2)  # blur and zero are two empty images


def test_figures_do_not_depend_on_the_batch():
    images, maps, model = example(n=5)
    classes = torch.zeros(5, dtype=torch.long)
    whole = perturbation_scores(model, images, maps, classes, batch_size=7)
    parts = [
        perturbation_scores(model, images[i : i + 1], maps[i : i + 1], classes[:1], seeds=[i], batch_size=64)
        for i in range(5)
    ]
    for name in ('drop', 'road'):
        torch.testing.assert_close(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
    for name in ('deletion', 'insertion'):
        torch.testing.assert_close(getattr(whole, name).area, torch.cat([getattr(part, name).area for part in parts]))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 25))
def test_curves_begin_and_end_at_the_image_and_at_nothing(seed, steps):
    images, maps, model = example(seed, size=5)
    found = perturbation_scores(model, images, maps, CLASSES, ['deletion', 'insertion'], steps)
    itself = model(images).softmax(1)[:, 0]
    nothing = model(torch.zeros_like(images)).softmax(1)[:, 0]
    blurred = model(baseline_image(images, 'blur')).softmax(1)[:, 0]
    assert len(found.deletion.fractions) <= steps + 1
    for scores, first, last in (
        (found.deletion.scores, itself, nothing),
        (found.insertion.scores, blurred, itself),
    ):
        torch.testing.assert_close(scores[:, 0], first)
        torch.testing.assert_close(scores[:, -1], last)
        assert ((scores >= 0) & (scores <= 1)).all()
    # All parts are positive: what goes lowers the score, what comes raises it.
    assert (found.deletion.scores.diff(dim=1) <= 1e-6).all()
    # Any increasing function of the map ranks alike.
    again = perturbation_scores(model, images, maps**3, CLASSES, ['deletion', 'insertion'], steps)
    assert torch.equal(again.deletion.scores, found.deletion.scores)


def test_ranks_are_the_places_of_a_stable_sort():
    maps = torch.tensor([[[0.5, 1.0], [0.5, 0.0]]])
    assert removal_ranks(maps).tolist() == [[[1, 0], [2, 3]]]


def test_counts_are_equal_steps():
    assert removal_counts(36, 36) == list(range(37))
    assert removal_counts(50176, 20)[1] == 2509
    assert removal_counts(50176, 20)[-1] == 50176
    assert removal_counts(4, 1) == [0, 4]
    with pytest.raises(ValueError, match='steps must lie between 1 and the number of pixels, 4, got 5'):
        removal_counts(4, 5)


def test_baselines():
    images, _, _ = example()
    assert baseline_image(images, 'zero').abs().sum() == 0
    torch.testing.assert_close(baseline_image(images, 'mean')[1, 2], images[1, 2].mean().expand(6, 6))
    torch.testing.assert_close(baseline_image(torch.full((1, 3, 9, 9), 4.0), 'blur'), torch.full((1, 3, 9, 9), 4.0))
    point = torch.zeros(1, 3, 31, 31)
    point[0, 1, 15, 15] = 1
    line = np.exp(-(np.arange(-5, 6) ** 2) / 50)
    line /= line.sum()
    np.testing.assert_allclose(baseline_image(point, 'blur')[0, 1, 10:21, 10:21], np.outer(line, line), atol=1e-7)
    assert torch.equal(baseline_image(images, lambda x: x + 1), images + 1)
    assert torch.equal(baseline_image(images, torch.tensor(3.0)), torch.full_like(images, 3))
    with pytest.raises(ValueError, match='baseline must be zero, mean, blur'):
        baseline_image(images, 'black')
    with pytest.raises(ValueError, match='a baseline must spread over images'):
        baseline_image(images, torch.zeros(7, 7))


def test_what_cannot_be_asked_is_said():
    images, maps, model = example()
    with pytest.raises(ValueError, match='which must name some of drop, deletion, insertion, road'):
        perturbation_scores(model, images, maps, CLASSES, ['removal'])
    with pytest.raises(ValueError, match='map 0 of the batch is constant and ranks no pixel'):
        perturbation_scores(model, images, torch.ones_like(maps), CLASSES, ['road'])
    with pytest.raises(ValueError, match=r'ROAD removes lies between 0 and 1, got 1.0'):
        perturbation_scores(model, images, maps, CLASSES, ['road'], road_fractions=[1.0])
    with pytest.raises(ValueError, match=r'one seed an image \(2\), got 1'):
        perturbation_scores(model, images, maps, CLASSES, ['road'], seeds=[1])
    with pytest.raises(ValueError, match="'road' was not asked for"):
        _ = perturbation_scores(model, images, maps, CLASSES, ['drop']).road
    # Looking through a constant map is allowed, and a batch may be one image.
    assert perturbation_scores(model, images[:1], maps[:1] * 0, CLASSES[:1], ['drop']).drop.shape == (1,)
