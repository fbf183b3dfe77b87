# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the poolings of scores share: formulae, limits, plain CAM where they are neutral, options."""

import copy
import math

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmentropy.models.necks import ClassScores, GlobalMaxPooling, PCAMPooling
from mmentropy.ops.certainty.pooling import global_max_pool, lse_pool, pcam_pool
from mmentropy.ops.certainty.wildcat import wildcat_pool

NECKS = {
    'GlobalMaxPooling': (dict(of='scores'), global_max_pool),
    'LSEPooling': (dict(r=3.0), lambda z: lse_pool(z, 3.0)),
    'WildcatPooling': (dict(kmax=3, kmin=2, alpha=0.5), lambda z: wildcat_pool(z, 3, 2, 0.5)),
    'PCAMPooling': (dict(), pcam_pool),
}
NEUTRAL = [
    dict(type='mmentropy.GlobalMaxPooling', mix=1.0),
    dict(type='mmentropy.LSEPooling', r=0),
    dict(type='mmentropy.LSEPooling', mix=1.0),
    dict(type='mmentropy.WildcatPooling', kmax=1.0, alpha=0.0),
    dict(type='mmentropy.PCAMPooling', mix=1.0),
]


def build(neck: dict, **head):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='mmentropy.LocalizationClassifier',
            backbone=dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1)),
            neck=dict(neck),
            head=dict(
                dict(type='mmentropy.CAMHead', init_cfg=dict(type='Normal', layer='Linear', std=1.0), num_classes=7),
                **head,
            ),
        )
    )
    model.init_weights()
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def samples() -> list[DataSample]:
    return [DataSample().set_gt_label(i) for i in (6, 0, 3)]


@pytest.mark.parametrize('name', NECKS)
def test_scores_by_the_formula(name, images):
    options, reduce = NECKS[name]
    model = build(dict(type=f'mmentropy.{name}', **options)).eval()
    with torch.no_grad():
        f = model.backbone(images)[-1]
        z = torch.einsum('cd,bdhw->bchw', model.head.fc.weight, f) + model.head.fc.bias.view(1, -1, 1, 1)
        torch.testing.assert_close(model(images), reduce(z), rtol=1e-4, atol=1e-4)
        assert isinstance(model.neck(model.backbone(images)), ClassScores)
        out = model(images, samples(), mode='predict')
    torch.testing.assert_close(out[1].pred_score, reduce(z)[1].softmax(0), rtol=1e-4, atol=1e-5)
    # The maps are those of the one linear layer.
    expected = torch.einsum('kd,dhw->khw', model.head.fc.weight[out[1].cam_labels], f[1])
    torch.testing.assert_close(out[1].cams, expected.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', NECKS)
def test_half_mixed_is_the_mean_of_both(name, images):
    options, reduce = NECKS[name]
    model = build(dict(type=f'mmentropy.{name}', mix=0.25, **options)).eval()
    with torch.no_grad():
        f = model.backbone(images)[-1]
        z = torch.einsum('cd,bdhw->bchw', model.head.fc.weight, f) + model.head.fc.bias.view(1, -1, 1, 1)
        expected = 0.75 * reduce(z) + 0.25 * z.mean((2, 3))
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)


def test_pooled_features_go_through_the_classifier(images):
    for neck, reduce in (
        (dict(type='mmentropy.GlobalMaxPooling'), global_max_pool),
        (dict(type='mmentropy.LSEPooling', r=2.0, of='features'), lambda x: lse_pool(x, 2.0)),
    ):
        model = build(neck).eval()
        with torch.no_grad():
            pooled = reduce(model.backbone(images)[-1])
            torch.testing.assert_close(model(images), model.head.fc(pooled), rtol=1e-4, atol=1e-4)


def test_limits_of_one_another(images):
    """LSE r → ∞ is GMP, WILDCAT of one location is GMP, and of all is GAP; all on scores."""
    with torch.no_grad():
        top = build(dict(type='mmentropy.GlobalMaxPooling', of='scores')).eval()(images)
        assert torch.equal(build(dict(type='mmentropy.LSEPooling', r=math.inf)).eval()(images), top)
        assert torch.equal(build(dict(type='mmentropy.WildcatPooling', kmax=1, alpha=0.0)).eval()(images), top)
        gap = build(dict(type='GlobalAveragePooling')).eval()(images)
        for all_locations in (1.0, 10**6):
            neck = dict(type='mmentropy.WildcatPooling', kmax=all_locations, alpha=0.0)
            torch.testing.assert_close(build(neck).eval()(images), gap, rtol=1e-4, atol=1e-4)


def test_the_hosts_gem_of_power_one_is_gap_of_non_negative_features(images):
    with torch.no_grad():
        gap = build(dict(type='GlobalAveragePooling')).eval()(images)
        gem = build(dict(type='GeneralizedMeanPooling', p=1.0)).eval()(images)
    torch.testing.assert_close(gem, gap, rtol=1e-4, atol=1e-4)  # its floor of 1e-6 for zero features remains


@pytest.mark.parametrize('neck', NEUTRAL, ids=lambda neck: str(neck))
def test_neutral_options_train_bit_for_bit_as_plain_cam(neck, images):
    results = []
    for one in (dict(type='GlobalAveragePooling'), neck):
        model = build(one).train()
        loss = model(images, samples(), mode='loss')['loss']
        loss.backward()
        results.append([loss, *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results))


@pytest.mark.parametrize('name', NECKS)
def test_state_dict_is_plain_cams_and_a_copy_keeps_its_tie(name):
    model = build(dict(type=f'mmentropy.{name}', **NECKS[name][0]))
    build(dict(type='GlobalAveragePooling')).load_state_dict(model.state_dict(), strict=True)
    twin = copy.deepcopy(model)
    assert twin.neck.classifier is twin.head.fc


@pytest.mark.parametrize('name', NECKS)
def test_bfloat16_and_batches_of_one(name, images):
    model = build(dict(type=f'mmentropy.{name}', **NECKS[name][0])).eval()
    with torch.no_grad():
        # One by one another convolution kernel may be chosen: close, not equal.
        torch.testing.assert_close(model(images[:1]), model(images)[:1], rtol=1e-4, atol=1e-4)
        with torch.autocast('cpu', torch.bfloat16):
            low = model(images)
    torch.testing.assert_close(low.float(), model(images).detach(), rtol=0.1, atol=0.3)


def test_options_are_shown_and_checked():
    assert 'not tied yet' in repr(PCAMPooling())
    with pytest.raises(ValueError, match='GlobalMaxPooling: of must be'):
        GlobalMaxPooling(of='logits')
    with pytest.raises(ValueError, match='pools class scores: use head=dict'):
        build(dict(type='mmentropy.PCAMPooling'), type='LinearClsHead')
