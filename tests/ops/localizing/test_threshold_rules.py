# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Rules for a map's own threshold, against closed forms, brute force and OpenCV."""

import math

import cv2
import numpy as np
import pytest
import torch

from mmentropy.ops.localizing.map_boxes import foreground_mask
from mmentropy.ops.localizing.threshold_rules import (
    AUTO_RULE,
    THRESHOLD_RULES,
    effective_area,
    entropy_area,
    mean_share,
    otsu,
    own_threshold,
    threshold_rule,
)


def random_map(seed: int, size: tuple[int, int] = (13, 17)) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1, size)


@pytest.mark.parametrize('order', [0, 0.5, 1, 2, 3, math.inf])
def test_a_block_spreads_over_its_area_and_is_found_whole(order):
    cam = np.zeros((20, 30))
    cam[4:9, 10:17] = 3.0
    assert effective_area(cam, order) == pytest.approx(35)
    for share in (1.0, 1.6):
        assert np.array_equal(foreground_mask(cam, entropy_area(cam, share, order)), cam > 0)
    # An area smaller than the block would cut it anywhere: the maximum is never background.
    assert np.array_equal(foreground_mask(cam, entropy_area(cam, 0.3, order)), cam > 0)


@pytest.mark.parametrize('order', [0.5, 2, 3.5])
def test_effective_area_is_the_textbooks_renyi_entropy(order):
    q = np.random.default_rng(0).dirichlet(np.ones(40))
    assert effective_area(7 * q, order) == pytest.approx((q**order).sum() ** (1 / (1 - order)), rel=1e-10)


def test_orders_one_and_infinity_are_limits():
    q = np.random.default_rng(1).dirichlet(np.ones(40))
    shannon = torch.distributions.Categorical(torch.from_numpy(q)).entropy().exp().item()
    assert effective_area(q, 1) == pytest.approx(shannon, rel=1e-10)
    assert effective_area(q, 1 + 1e-7) == pytest.approx(shannon, rel=1e-5)
    assert effective_area(q, math.inf) == pytest.approx(q.sum() / q.max())
    assert effective_area(q, 5000) == pytest.approx(q.sum() / q.max(), rel=1e-2)  # would underflow in a plain sum


@pytest.mark.parametrize('order', [0, 1, 2, math.inf])
@pytest.mark.parametrize('share', [0.2, 0.65, 1.6])
@pytest.mark.parametrize('seed', range(3))
def test_entropy_area_leaves_that_many_pixels_above(order, share, seed):
    cam = random_map(seed)
    positive = np.maximum(cam, 0)
    wanted = min(round(share * effective_area(positive, order)), int((cam > 0).sum()))
    threshold = entropy_area(cam, share, order)
    assert 0 <= threshold < 1
    assert foreground_mask(cam, threshold).sum() == wanted


@pytest.mark.parametrize('rule', list(THRESHOLD_RULES.values()))
@pytest.mark.parametrize('seed', range(3))
def test_rules_do_not_see_scale_or_place(rule, seed):
    cam = random_map(seed)
    shuffled = np.random.default_rng(seed).permutation(cam.ravel()).reshape(cam.shape)
    assert rule(4.0 * cam) == pytest.approx(rule(cam), abs=1e-12)
    assert rule(shuffled) == pytest.approx(rule(cam), abs=1e-12)
    assert rule(np.maximum(cam, 0)) == pytest.approx(rule(cam), abs=1e-12)
    assert rule(cam.astype(np.float32)) == pytest.approx(rule(cam), abs=1 / 250)


def test_mean_share_is_the_mean_of_what_is_positive():
    cam = random_map(0)
    assert mean_share(cam, 0.7) == pytest.approx(0.7 * np.maximum(cam, 0).mean() / cam.max())
    assert mean_share(np.ones((3, 3)), 2.0) < 1
    assert foreground_mask(np.ones((3, 3)), mean_share(np.ones((3, 3)), 2.0)).all()


@pytest.mark.parametrize('seed', range(6))
def test_otsu_is_opencvs_and_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    image = np.clip(np.r_[rng.normal(60, 20, 400), rng.normal(160, 30, 200)], 0, 255).astype(np.uint8)
    image[0] = 255  # so that shares of the maximum are grey levels
    image = image.reshape(20, 30)
    level = cv2.threshold(image, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
    found = foreground_mask(image / 255.0, otsu(image / 255.0))

    def between(mask: np.ndarray) -> float:
        if not 0 < mask.mean() < 1:
            return 0.0
        return mask.mean() * (1 - mask.mean()) * (float(image[mask].mean()) - float(image[~mask].mean())) ** 2

    assert between(found) == pytest.approx(max(between(image > t) for t in range(256)), rel=1e-9)
    assert abs(int(found.sum()) - int((image > level).sum())) <= 5


@pytest.mark.parametrize('rule', list(THRESHOLD_RULES.values()))
def test_nothing_positive_and_flat_maps(rule):
    assert rule(np.zeros((4, 5))) == 0
    assert rule(np.full((4, 5), -2.0)) == 0
    flat = np.full((4, 5), 3.0)
    assert foreground_mask(flat, rule(flat)).all()


def test_names():
    cam = random_map(2)
    assert own_threshold(cam) == own_threshold(cam, AUTO_RULE) == entropy_area(cam)
    assert threshold_rule('otsu') is otsu
    with pytest.raises(ValueError, match=r"'auto', 'entropy_area', 'mean_share', 'otsu'.*'triangle'"):
        own_threshold(cam, 'triangle')


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: entropy_area(np.zeros((2, 3, 4))), r'two axes.*\(2, 3, 4\)'),
        (lambda: mean_share(np.array([[1.0, np.nan]])), 'finite'),
        (lambda: otsu(np.array([[1.0, np.inf]])), 'finite'),
        (lambda: entropy_area(np.ones((2, 2)), share=0), 'share above 0'),
        (lambda: entropy_area(np.ones((2, 2)), order=-1), 'order of 0 or more'),
        (lambda: mean_share(np.ones((2, 2)), share=-1), 'share above 0'),
    ],
)
def test_faults(call, message):
    with pytest.raises(ValueError, match=message):
        call()
