# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One class, one image, black images, images of one location, half precision: defined, and by value."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample
from torch import nn

from mmentropy.models import LocalizationClassifier
from mmentropy.ops.certainty.entropy import entropy_weights, location_entropy

LOSS = dict(type='mmentropy.EntropyRegularizedLoss', lambda_=0.1)


def build(classes: int = 4, neck: str = 'mmentropy.EntropyPooling', **options) -> LocalizationClassifier:
    """The entropy system on a narrow ResNet-18; batch norms as trained on other data, so that samples are apart."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='mmentropy.LocalizationClassifier',
                backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
                neck=dict(type=neck),
                head=dict(type='mmentropy.CAMHead', loss=LOSS),
                data_preprocessor=dict(num_classes=classes, mean=[127.5] * 3, std=[63.75] * 3),
                **options,
            )
        )
    nn.init.normal_(model.head.fc.weight, std=0.5)
    return model.eval()


def batch(images: torch.Tensor, labels: list[int]) -> dict:
    samples = [DataSample().set_gt_label(label) for label in labels]
    return dict(inputs=list(images), data_samples=samples)


def loss_of(model: LocalizationClassifier, images: torch.Tensor, labels: list[int]) -> torch.Tensor:
    data = model.data_preprocessor(batch(images, labels), training=False)
    return model(**data, mode='loss')['loss']


def noise(number: int, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (number, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_one_class():
    """Nothing to tell apart: no loss, no entropy, and every location counts the same."""
    model = build(1)
    model.train()
    assert loss_of(model, noise(3), [0, 0, 0]).item() == pytest.approx(0, abs=1e-6)
    model.eval()
    found = model.test_step(batch(noise(2), [0, 0]))
    assert [sample.pred_score.tolist() for sample in found] == [[1.0], [1.0]]
    assert all((sample.entropy_map == 0).all() and sample.cams.shape[0] == 1 for sample in found)
    features = torch.randn(2, 64, 3, 5)
    torch.testing.assert_close(model.neck(features), features.mean((2, 3)))


@pytest.mark.parametrize('mapping', ['exp', 'kl', 'linear'])
def test_no_location_is_surer_than_another(mapping):
    """A constant feature map, as a black image gives away from the borders: uniform weights, whatever the mapping."""
    features = torch.randn(1, 6, 1, 1).expand(2, 6, 4, 4)
    entropy = location_entropy(features, torch.randn(3, 6), torch.randn(3))
    torch.testing.assert_close(entropy_weights(entropy, 3, mapping), torch.full((2, 4, 4), 1 / 16))


def test_a_batch_of_one_is_a_sample_of_a_larger_batch():
    model, images, labels = build(), noise(4), [0, 1, 2, 3]
    apart = torch.stack([loss_of(model, images[i : i + 1], [labels[i]]) for i in range(4)])
    torch.testing.assert_close(apart.mean(), loss_of(model, images, labels))
    # In training, too: batch norm finds more than one value a channel as long as a map has more than one location.
    model.train()
    assert torch.isfinite(loss_of(model, images[:1], [0]))


def test_black_images():
    model, black = build(), torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    found = model.test_step(batch(black, [0, 1]))
    for sample in found:
        assert torch.isfinite(sample.cams).all()
        assert sample.pred_score.sum().item() == pytest.approx(1)
    assert torch.equal(found[0].pred_score, found[1].pred_score)
    model.train()
    loss = loss_of(model, black, [0, 1])
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_an_image_of_one_location():
    """Smaller than the network's stride: the map has one location, and every pooling is that location."""
    model, plain = build(), build(neck='GlobalAveragePooling')
    plain.load_state_dict(copy.deepcopy(model.state_dict()))
    tiny = noise(2, 16)
    ours, theirs = (m.test_step(batch(tiny, [0, 1])) for m in (model, plain))
    for a, b in zip(ours, theirs):
        assert a.entropy_map.shape == (1, 1)
        torch.testing.assert_close(a.pred_score, b.pred_score)
        logits = a.cams[:, 0, 0] + model.head.fc.bias[a.cam_labels]
        torch.testing.assert_close(logits.softmax(0), b.pred_score[a.cam_labels])


@pytest.mark.parametrize(('dtype', 'digits'), [(torch.bfloat16, 0.05), (torch.float16, 0.005)])
def test_half_precision_keeps_entropies_in_float32(dtype, digits):
    features, weight = torch.randn(2, 16, 5, 5), torch.randn(7, 16)
    exact = location_entropy(features.double(), weight.double())
    with torch.autocast('cpu', dtype):
        found = location_entropy(features, weight)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=digits)
    half = location_entropy(features.to(dtype), weight.to(dtype))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), exact, rtol=0, atol=digits)


@pytest.mark.parametrize('chunk_size', [None, 3])
def test_logits_at_the_end_of_float16(chunk_size):
    """Scores of ±60 000, whose exponentials no float holds: certain where one leads, log 2 where two are level."""
    features = torch.tensor([60000.0, -60000.0]).half().view(1, 1, 1, 2).requires_grad_()
    weight = torch.tensor([[1.0], [-1.0], [-1.0], [0.5], [0.25]]).half().requires_grad_()
    entropy = location_entropy(features, weight, chunk_size=chunk_size)
    torch.testing.assert_close(entropy, torch.tensor([[[0.0, math.log(2)]]]))
    entropy.sum().backward()
    assert features.grad.dtype == weight.grad.dtype == torch.float16
    assert not features.grad.any()  # nothing changes while the order stays
    weights = entropy_weights(entropy, 5)
    torch.testing.assert_close(weights, torch.tensor([[[2 / 3, 1 / 3]]]))  # exp(−H), normalised


def test_a_model_in_float16_predicts_what_float32_predicts():
    model, images = build(), noise(2)
    data = model.data_preprocessor(batch(images, [0, 1]))
    scores = torch.stack([s.pred_score for s in model(**data, mode='predict')])
    half = copy.deepcopy(model).half()
    samples = half(data['inputs'].half(), data['data_samples'], mode='predict')
    assert samples[0].entropy_map.dtype == torch.float32
    torch.testing.assert_close(torch.stack([s.pred_score for s in samples]).float(), scores, rtol=0, atol=5e-3)
