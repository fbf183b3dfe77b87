# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What all erasers keep: plain CAM where they are neutral, evaluation as it was, copies of their own."""

import copy
import pickle

import pytest
import torch
from erasers import ERASERS, NEUTRAL, VIT, build, samples, steps
from mmpretrain.structures import DataSample

from mmentropy.models import ADL, RDAP, SPG, ACoL


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
