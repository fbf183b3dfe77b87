# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub

from mmentropy.models import ConfidencePenaltyLoss, EntropyRegularizedLoss, JeffreysPenaltyLoss
from mmentropy.ops.certainty.regularizers import uniform_divergence

ALL = [EntropyRegularizedLoss, ConfidencePenaltyLoss, JeffreysPenaltyLoss]


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('loss_type', ALL)
def test_weight_zero_is_the_plain_cross_entropy_bit_for_bit(loss_type, logits):
    target = torch.arange(4)
    ours = loss_type(lambda_=0.0)(logits, target, avg_factor=4)
    plain = F.cross_entropy(logits, target, reduction='none').sum() / 4
    assert torch.equal(ours, plain)


def test_value_by_hand(logits):
    target = torch.arange(4)
    log_p = logits.log_softmax(1)
    ce = -log_p[range(4), range(4)]
    divergence = -log_p.mean(1) - math.log(5)
    loss = EntropyRegularizedLoss(loss_weight=2.0, lambda_=0.3)
    torch.testing.assert_close(loss(logits, target), 2 * (ce + 0.3 * divergence).mean())
    loss = EntropyRegularizedLoss(lambda_=0.3, class_reduction='sum')
    torch.testing.assert_close(loss(logits, target), (ce + 0.3 * 5 * divergence).mean())


def test_both_hosts_arguments(logits):
    loss = EntropyRegularizedLoss(lambda_=0.3)
    target = torch.arange(4)
    each = loss(logits, target, reduction_override='none')
    assert each.shape == (4,)
    torch.testing.assert_close(loss(logits, target, avg_factor=8), each.sum() / 8)
    torch.testing.assert_close(loss(logits, target, reduction_override='sum'), each.sum())
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5])
    torch.testing.assert_close(loss(logits, target, weight=weight), (each * weight).mean())
    # Pixels: (N, C, H, W) against (N, H, W), ignored ones neither in the sum nor in the mean.
    maps = torch.randn(2, 5, 3, 3)
    labels = torch.randint(0, 5, (2, 3, 3))
    labels[0, 0] = 255
    pixels = loss(maps, labels, weight=None, ignore_index=255)
    flat = maps.permute(0, 2, 3, 1).reshape(-1, 5)[labels.flatten() != 255]
    kept = labels.flatten()[labels.flatten() != 255]
    torch.testing.assert_close(pixels, F.cross_entropy(flat, kept) + 0.3 * uniform_divergence(flat).mean())
    assert loss.loss_name == 'loss_er'


@pytest.mark.parametrize('avg_non_ignore', [True, False])
def test_ignored_pixels_and_the_mean_are_as_in_mmseg(avg_non_ignore):
    """Half of the first image and a third of the pixels in all are ignored; mmseg's own loss is the oracle."""
    from mmseg.models.losses import CrossEntropyLoss

    maps = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24).view(2, 4, 3) % 5
    labels[0, :2], labels[1, 0, :2] = 255, 255
    theirs = CrossEntropyLoss(avg_non_ignore=avg_non_ignore)(maps, labels, ignore_index=255)
    ours = EntropyRegularizedLoss(lambda_=0.0, avg_non_ignore=avg_non_ignore)(maps, labels, ignore_index=255)
    torch.testing.assert_close(ours, theirs)
    both = [
        EntropyRegularizedLoss(lambda_=0.3, avg_non_ignore=n)(maps, labels, ignore_index=255) for n in (True, False)
    ]
    torch.testing.assert_close(both[1], both[0] * 16 / 24)  # the regulariser follows
    assert EntropyRegularizedLoss().avg_non_ignore


def test_everything_ignored_is_zero_not_nan():
    loss = EntropyRegularizedLoss(lambda_=0.3)
    assert loss(torch.randn(1, 3, 2, 2), torch.full((1, 2, 2), 255), ignore_index=255).item() == 0


def test_mixed_and_multi_label_targets(logits):
    soft = torch.rand(4, 5).softmax(1)
    expected = -(soft * logits.log_softmax(1)).sum(1).mean() + 0.3 * uniform_divergence(logits).mean()
    torch.testing.assert_close(EntropyRegularizedLoss(lambda_=0.3)(logits, soft), expected)
    hot = torch.tensor([[1, 0, 1, 0, 0]] * 4)
    expected = F.binary_cross_entropy_with_logits(logits, hot.float())
    expected = expected + 0.3 * uniform_divergence(logits, multi_label=True).mean()
    torch.testing.assert_close(EntropyRegularizedLoss(lambda_=0.3, multi_label=True)(logits, hot), expected)


def test_logs_the_mean_predictive_entropy():
    hub = MessageHub.get_instance('test_losses')
    EntropyRegularizedLoss().train()(torch.zeros(3, 8), torch.zeros(3, dtype=torch.long))
    assert hub.get_scalar('train/entropy').current() == pytest.approx(math.log(8))
    EntropyRegularizedLoss().eval()(torch.tensor([[100.0, 0.0]]), torch.zeros(1, dtype=torch.long))
    assert hub.get_scalar('train/entropy').current() == pytest.approx(math.log(8))  # nothing new outside training


@pytest.mark.parametrize('options', [{'class_reduction': 'max'}, {'label_smoothing': 1.0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match='must be'):
        EntropyRegularizedLoss(**options)
