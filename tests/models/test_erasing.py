# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import copy
import pickle

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmentropy.models import ADL, RDAP, SPG, ACoL
from mmentropy.ops.erasing.feature_erasing import (
    acol_mask,
    adl_drop_mask,
    fuse_maps,
    label_map,
    rdap_mask,
    self_attention,
)
from mmentropy.ops.erasing.self_guidance import guidance_loss

RESNET = dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1))
CONVNEXT = dict(
    type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[4, 8, 12, 20]), gap_before_final_norm=False
)
VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=24),
    img_size=32,
    patch_size=8,
    out_type='featmap',
)
ERASERS = {
    'ADL': dict(type='mmentropy.ADL'),
    'RDAP': dict(type='mmentropy.RDAP', size=0.5),
    'ACoL': dict(type='mmentropy.ACoL'),
    'SPG': dict(type='mmentropy.SPG', channels=4),
}
NEUTRAL = {
    'ADL prob': dict(type='mmentropy.ADL', prob=0.0),
    'ADL rate': dict(type='mmentropy.ADL', drop_rate=0.0, importance=False),
    'RDAP rate': dict(type='mmentropy.RDAP', drop_rate=0.0),
    'ACoL weight': dict(type='mmentropy.ACoL', weight=0.0),
    'SPG weight': dict(type='mmentropy.SPG', channels=4, weight=0.0),
}


def build(*erasing: dict, backbone: dict = RESNET):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='mmentropy.LocalizationClassifier',
            backbone=copy.deepcopy(backbone),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='mmentropy.CAMHead', num_classes=7, init_cfg=dict(type='Normal', layer='Linear', std=0.5)),
            erasing=[dict(one) for one in erasing],
        )
    )
    model.init_weights()
    return model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def samples() -> list[DataSample]:
    return [DataSample().set_gt_label(i) for i in (6, 0, 3)]


def steps(model, images, number=3) -> tuple[list[torch.Tensor], list[float]]:
    """A few training steps; the parameters of backbone and head, and the losses."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    losses = []
    for _ in range(number):
        total = sum(model(images, samples(), mode='loss').values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    return [p.detach().clone() for part in (model.backbone, model.head) for p in part.state_dict().values()], losses


@pytest.mark.parametrize('name', NEUTRAL)
def test_rate_or_weight_zero_trains_bit_for_bit_as_plain_cam(name, images):
    plain, plain_losses = steps(build(), images)
    neutral, losses = steps(build(NEUTRAL[name]), images)
    assert losses == plain_losses
    assert all(torch.equal(a, b) for a, b in zip(plain, neutral))


@pytest.mark.parametrize('name', NEUTRAL)
def test_maps_of_a_neutral_eraser_are_plain_cams(name, images):
    with torch.no_grad():
        a = build().eval()(images, samples(), mode='predict')
        b = build(NEUTRAL[name]).eval()(images, samples(), mode='predict')
    assert all(torch.equal(x.cams, y.cams) for x, y in zip(a, b))


@pytest.mark.parametrize('name', ERASERS)
def test_training_differs_from_plain_cam_and_evaluation_does_not(name, images):
    """From the same seed all shared weights are equal; an eraser acts in training only."""
    plain, erased = build(), build(ERASERS[name])
    shared = {key: value for key, value in erased.state_dict().items() if not key.startswith('erasing')}
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in shared.items())
    assert set(shared) == set(plain.state_dict())
    with torch.no_grad():
        assert torch.equal(plain.eval()(images), erased.eval()(images))
        losses = [model(images, samples(), mode='loss') for model in (plain, erased)]
        assert losses[0] == losses[1]
    before = [value.clone() for value in shared.values()]
    after, losses = steps(erased, images)
    assert torch.isfinite(torch.tensor(losses)).all()
    moved = [not torch.equal(a, b) for a, b in zip(before, after)]
    assert all(moved), [key for key, value in zip(shared, moved) if not value]
    reference, _ = steps(plain, images)
    assert not all(torch.equal(a, b) for a, b in zip(after, reference))


def test_adl_multiplies_the_layers_output_by_its_mask(images):
    seen = {}
    for drop_rate in (None, 1.0, 0.0):
        erasing = [] if drop_rate is None else [dict(type='mmentropy.ADL', layers=('layer2',), drop_rate=drop_rate)]
        backbone = build(*erasing).train().backbone
        backbone.layer2.register_forward_hook(lambda m, i, out, key=drop_rate: seen.update({key: out.detach()}))
        backbone(images)
    attention = self_attention(seen[None])
    assert 0 < adl_drop_mask(attention).mean() < 1
    assert torch.equal(seen[1.0], seen[None] * adl_drop_mask(attention, 0.9))
    torch.testing.assert_close(seen[0.0], seen[None] * attention.sigmoid())


def test_rates_are_the_share_of_batches(images):
    erasers = [
        (ADL(drop_rate=0.25, importance=False), 0.25),
        (RDAP(drop_rate=0.6), 0.6),
        (ADL(drop_rate=1.0, prob=0.3), 0.3),
        (RDAP(drop_rate=1.0, prob=1.0), 1.0),
    ]
    features = torch.rand(2, 4, 6, 6) + 0.1
    torch.manual_seed(0)
    for eraser, rate in erasers:
        results = [eraser.act('layer', features) for _ in range(2000)]
        share = sum(out is not None and not torch.equal(out, features) for out in results) / 2000
        assert share == pytest.approx(rate, abs=0.05)  # four standard deviations


def test_rdap_on_convnext_and_on_the_tokens_of_a_transformer(images):
    seen = {}
    for backbone, layer in ((CONVNEXT, 'stages.2'), (VIT, 'layers.0')):
        for size in (None, 2):
            erasing = [] if size is None else [dict(type='mmentropy.RDAP', layers=(layer,), drop_rate=1.0, size=size)]
            model = build(*erasing, backbone=backbone).train().backbone
            model.get_submodule(layer).register_forward_hook(lambda m, i, out, key=size: seen.update({key: out}))
            torch.manual_seed(2)
            model(images)
        plain, erased = seen[None], seen[2]
        if plain.ndim == 3:
            assert torch.equal(erased[:, 0], plain[:, 0])  # the class token
            plain, erased = (x[:, 1:].transpose(1, 2).unflatten(2, (4, 4)) for x in (plain, erased))
        assert torch.equal(erased, plain * rdap_mask(self_attention(plain), 2))
        assert not torch.equal(erased, plain)


def test_acol_loss_and_maps_by_hand(images):
    model = build(dict(type='mmentropy.ACoL', threshold=0.6, weight=0.5)).train()
    losses = model(images, samples(), mode='loss')
    acol = model.erasing[0]
    f = model.backbone(images)[-1]
    weight = model.head.fc.weight
    maps = torch.einsum('cd,bdhw->bchw', weight, f)
    labels = torch.eye(7)[[6, 0, 3]]
    region = acol_mask(label_map(maps, labels), 0.6)
    erased_share = 1 - region.mean()
    assert 0 < erased_share < 0.9
    scores = acol.adversary((f * region).mean((2, 3)))
    expected = 0.5 * torch.nn.functional.cross_entropy(scores, torch.tensor([6, 0, 3]))
    torch.testing.assert_close(losses['loss_acol'], expected)
    with torch.no_grad():
        sample = model.eval()(images, samples(), mode='predict')[1]
        f = model.backbone(images)[-1][1]
        first, second = (torch.einsum('kd,dhw->khw', w[sample.cam_labels], f) for w in (weight, acol.adversary.weight))
    torch.testing.assert_close(sample.cams, fuse_maps(first, second), rtol=1e-4, atol=1e-4)


def test_spg_losses_by_hand(images):
    pairs = ((0.1, 0.6), (0.2, 0.5), (0.3, 0.55))
    model = build(dict(type='mmentropy.SPG', channels=4, thresholds=pairs, weight=2.0)).train()
    losses = model(images, samples(), mode='loss')
    spg, seen = model.erasing[0], {}
    for name in ('layer2', 'layer3'):
        model.backbone.get_submodule(name).register_forward_hook(lambda m, i, out, n=name: seen.update({n: out}))
    f = model.backbone(images)[-1]
    attention = label_map(model.head.maps(f), torch.eye(7)[[6, 0, 3]])
    shallow, deep = spg.shallow(seen['layer2']), spg.deep(seen['layer3'])
    assert shallow.shape == (3, 1, 4, 4)
    both = (
        torch.nn.functional.interpolate(shallow.sigmoid(), size=deep.shape[2:], mode='bilinear') + deep.sigmoid()
    ) / 2
    torch.testing.assert_close(losses['loss_spg_deep'], 2 * guidance_loss(deep, attention, *pairs[0]))
    torch.testing.assert_close(losses['loss_spg_shallow'], 2 * guidance_loss(shallow, deep.sigmoid(), *pairs[1]))
    torch.testing.assert_close(losses['loss_spg_last'], 2 * guidance_loss(spg.last(f), both, *pairs[2]))
    assert losses['loss_spg_deep'] > 0


def test_seen_in_print_and_copied_and_pickled_with_the_model(images):
    model = build(dict(type='mmentropy.RDAP', layers=('layer4',), drop_rate=1.0, size=1))
    assert "(0): RDAP(layers=('layer4',), prob=1.0, drop_rate=1.0, size=1)" in repr(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin.train()
        for eraser in model.erasing:
            eraser.eval()  # the original's state must not matter to its copy
        with torch.no_grad():
            features = twin.backbone(images)[-1]
        assert (features.flatten(2).abs().sum(1) == 0).sum(1).min() >= 1


def test_mixed_labels_reach_acol_and_spg(images):
    model = build(ERASERS['ACoL'], ERASERS['SPG']).train()
    mixed = [
        DataSample().set_gt_score(0.7 * torch.eye(7)[i] + 0.3 * torch.eye(7)[j]) for i, j in ((6, 1), (0, 2), (3, 3))
    ]
    losses = model(images, mixed, mode='loss')
    assert set(losses) == {'loss', 'loss_acol', 'loss_spg_deep', 'loss_spg_shallow', 'loss_spg_last'}
    assert all(torch.isfinite(value) for value in losses.values())


def test_errors_name_the_option():
    with pytest.raises(ValueError, match=r"ADL: ResNet has no layer 'layer9'; there are conv1, .*layer4"):
        build(dict(type='mmentropy.ADL', layers=('layer9',)))
    with pytest.raises(ValueError, match=r"no layer 'layer3.7'; there are layer3.0, layer3.1"):
        build(dict(type='mmentropy.ADL', layers=('layer3.7',)))
    with pytest.raises(ValueError, match='layers is a list of names'):
        ADL(layers='layer3')
    with pytest.raises(ValueError, match='ADL: drop_rate must be in'):
        ADL(drop_rate=1.5)
    with pytest.raises(ValueError, match='prob must be in'):
        RDAP(prob=-0.1)
    with pytest.raises(ValueError, match='ACoL: threshold in'):
        ACoL(threshold=2)
    with pytest.raises(ValueError, match='SPG needs two layers'):
        SPG(layers=('layer3',))
    with pytest.raises(ValueError, match='low < high'):
        SPG(thresholds=((0.5, 0.1),) * 3)
    with pytest.raises(ValueError, match='erases by the class maps of its head'):
        ACoL().attach(torch.nn.Identity(), torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match='not a map'):
        build(dict(type='mmentropy.SPG', layers=('layers.0', 'layers.1')), backbone=VIT)
