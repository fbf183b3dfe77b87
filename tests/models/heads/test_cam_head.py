# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import math
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample

from mmentropy.models import CAMHead
from mmentropy.ops.mapping.class_maps import class_activation_maps


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(0))


def head(**options) -> CAMHead:
    torch.manual_seed(1)
    built = CAMHead(num_classes=5, in_channels=6, **options)
    torch.nn.init.normal_(built.fc.weight)
    torch.nn.init.normal_(built.fc.bias)
    return built


def test_maps_are_the_weighted_sum_without_bias(features):
    h = head()
    expected = torch.zeros(2, 5, 3, 4)
    for n in range(2):
        for c in range(5):
            for k in range(6):
                expected[n, c] += h.fc.weight[c, k].detach() * features[n, k]
    torch.testing.assert_close(h.maps(features), expected)
    torch.testing.assert_close(h.maps(features, torch.tensor([3, 1])), expected[:, [3, 1]])
    own = torch.tensor([[0, 4, 4], [2, 1, 0]])
    torch.testing.assert_close(h.maps(features, own), torch.stack([expected[0, own[0]], expected[1, own[1]]]))


def test_mean_of_the_map_is_the_logit_without_its_bias(features):
    h = head()
    logits = h((features.mean((2, 3)),))
    torch.testing.assert_close(h.maps(features).mean((2, 3)), logits - h.fc.bias)


def test_maps_refuse_classes_of_another_batch(features):
    with pytest.raises(ValueError, match=r'must be \(K,\) or \(2, K\)'):
        class_activation_maps(features, torch.zeros(5, 6), torch.zeros(3, 2, dtype=torch.long))


def test_state_dict_is_the_linear_heads(features):
    h, host = head(), LinearClsHead(num_classes=5, in_channels=6)
    host.load_state_dict(h.state_dict())
    pooled = (features.mean((2, 3)),)
    torch.testing.assert_close(h(pooled), host(pooled))


def test_entropy_map_reads_softmax_or_sigmoids(features):
    logits = head().maps(features) + head().fc.bias.view(1, -1, 1, 1)
    p = logits.softmax(1)
    torch.testing.assert_close(head().entropy_map(features), -(p * p.log()).sum(1))
    p = logits.sigmoid()
    expected = -(p * p.log() + (1 - p) * (1 - p).log()).mean(1)
    torch.testing.assert_close(head(multi_label=True).entropy_map(features), expected)


def test_predictions_carry_their_entropy(features):
    samples = head().predict((features.mean((2, 3)),))
    for sample in samples:
        p = sample.pred_score
        assert sample.pred_label.item() == p.argmax().item()
        assert sample.entropy.item() == pytest.approx(-(p * p.log()).sum().item(), rel=1e-5)


def test_multi_label_loss_and_prediction(features):
    h = head(multi_label=True, threshold=0.4)
    pooled = (features.mean((2, 3)),)
    logits = h(pooled)
    samples = [DataSample().set_gt_label([0, 3]), DataSample().set_gt_label([2])]
    target = torch.tensor([[1, 0, 0, 1, 0], [0, 0, 1, 0, 0.0]])
    expected = F.binary_cross_entropy_with_logits(logits, target, reduction='none').sum() / 2
    torch.testing.assert_close(h.loss(pooled, samples)['loss'], expected)
    for sample, z in zip(h.predict(pooled), logits):
        torch.testing.assert_close(sample.pred_score, z.sigmoid())
        assert sample.pred_label.tolist() == torch.where(z.sigmoid() >= 0.4)[0].tolist()
        q = z.sigmoid()
        bits = -(q * q.log() + (1 - q) * (1 - q).log()).mean()
        assert 0 < bits.item() < math.log(2)
        torch.testing.assert_close(sample.entropy, bits)


def test_the_entropy_of_the_log_is_that_of_the_necks_features(features):
    hub = MessageHub.get_instance('auxiliary')
    with patch.object(MessageHub, 'get_current_instance', return_value=hub):
        h = head(auxiliary_gap=0.5, loss=dict(type='mmentropy.EntropyRegularizedLoss')).train()
        pooled = (features.amax((2, 3)),)
        h.loss(pooled, [DataSample().set_gt_label(i) for i in (0, 3)], feature_map=features)
    logged = hub.get_scalar('train/entropy')
    p = h(pooled).softmax(1)
    assert logged.statistics('mean', 10) == pytest.approx(-(p * p.log()).sum(1).mean().item(), rel=1e-5)
    assert len(logged.data[0]) == 1


def test_auxiliary_gap_shares_the_loss(features):
    samples = [DataSample().set_gt_label(0), DataSample().set_gt_label(4)]
    pooled = (features.amax((2, 3)),)
    on_pooled = head().loss(pooled, samples)['loss']
    on_gap = head().loss((features.mean((2, 3)),), samples)['loss']
    shared = head(auxiliary_gap=0.25).loss(pooled, samples, feature_map=features)['loss']
    torch.testing.assert_close(shared, 0.75 * on_pooled + 0.25 * on_gap)
    torch.testing.assert_close(head(auxiliary_gap=0.25).loss(pooled, samples)['loss'], on_pooled)


@pytest.mark.parametrize(
    ('options', 'message'),
    [({'auxiliary_gap': 2}, 'share of the loss'), ({'multi_label': True, 'cal_acc': True}, 'cal_acc')],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        head(**options)
