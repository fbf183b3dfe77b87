# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Other weights, another class, a little noise: maps that follow the model, and maps that do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmentropy.ops.faithfulness.sanity import (
    adcc,
    coherency,
    layers_from_the_top,
    map_similarity,
    max_sensitivity,
    other_classes,
    parameter_randomization,
    random_logit,
    randomized,
)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()


def images(n: int = 3) -> torch.Tensor:
    return torch.rand(n, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def test_layers_come_from_the_top():
    assert layers_from_the_top(network()) == ['3', '1', '0']
    with pytest.raises(ValueError, match='ReLU has no parameters'):
        layers_from_the_top(nn.ReLU())


def test_parameters_are_drawn_at_their_own_scale_and_put_back():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with randomized(model, ['3'], seed=1):
        assert not torch.equal(model[3].weight, before['3.weight'])
        assert torch.equal(model[0].weight, before['0.weight'])
        drawn = model[3].weight.detach().clone()
    with randomized(model, ['3', '0'], seed=1):
        assert torch.equal(model[3].weight, drawn)  # whatever else is drawn
        assert model[0].weight.std().item() == pytest.approx(before['0.weight'].std().item(), rel=0.15)
        assert torch.equal(model[1].running_var, before['1.running_var'])
    with pytest.raises(RuntimeError, match='in the middle'), randomized(model, ['0']):
        raise RuntimeError('in the middle')
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_shared_parameters_are_drawn_once_and_put_back():
    model = network()
    model.append(nn.Conv2d(4, 4, 1))
    model[4].weight = nn.Parameter(model[3].weight[:, :4].detach().clone())
    model[4].bias = model[3].bias
    before = model[3].bias.detach().clone()
    with randomized(model, layers_from_the_top(model)):
        assert not torch.equal(model[3].bias, before)
    assert torch.equal(model[3].bias, before)
    assert torch.equal(model[4].bias, before)


def test_a_map_of_the_model_changes_and_an_edge_detector_does_not():
    model, batch, classes = network(), images(), torch.tensor([0, 1, 2])

    def cam(x, labels):
        with torch.no_grad():
            return model(x)[range(len(x)), labels]

    alike = parameter_randomization(model, batch, cam(batch, classes), cam, classes, stages=3)
    assert (alike.rank < 0.9).all()
    assert (alike.ssim < 0.9).all()
    edges = parameter_randomization(model, batch, batch.mean(1), lambda x, labels: x.mean(1), classes, stages=3)
    torch.testing.assert_close(edges.rank, torch.ones(3))
    torch.testing.assert_close(edges.ssim, torch.ones(3))
    with pytest.raises(ValueError, match='stages counts looks and is at least 1, got 0'):
        parameter_randomization(model, batch, batch.mean(1), cam, classes, stages=0)


def test_stages_draw_more_and_more_layers_up_to_all():
    model, batch, drawn = network(), images(1), []
    before = {name: value.detach().clone() for name, value in model.named_parameters()}

    def explain(x, labels):
        drawn.append({name for name, value in model.named_parameters() if not torch.equal(value, before[name])})
        return x.mean(1)

    parameter_randomization(model, batch, batch.mean(1), explain, torch.tensor([0]), stages=3)
    top = {'3.weight', '3.bias'}  # a batch norm as it is built has no spread, and stays
    assert drawn == [top, top, top | {'0.weight', '0.bias'}]


def test_another_class_has_another_map_or_none():
    batch = images(4)
    classes = torch.tensor([0, 1, 2, 0])
    others = other_classes(classes, 3, seeds=[5, 6, 7, 8])
    assert ((others >= 0) & (others < 3) & (others != classes)).all()
    assert torch.equal(other_classes(classes[2:], 3, seeds=[7, 8]), others[2:])
    one_map = random_logit(batch, batch.mean(1), lambda x, labels: x.mean(1), classes, 3, seeds=[5, 6, 7, 8])
    torch.testing.assert_close(one_map.rank, torch.ones(4))
    own = batch[range(4), classes]
    by_class = random_logit(batch, own, lambda x, labels: x[range(4), labels], classes, 3, seeds=[5, 6, 7, 8])
    torch.testing.assert_close(by_class.rank, map_similarity(own, batch[range(4), others]).rank)
    with pytest.raises(ValueError, match='the model has one class'):
        other_classes(classes, 1, seeds=[0, 0, 0, 0])


def test_max_sensitivity_of_a_linear_map_is_that_of_its_noise():
    batch, classes = images(2), torch.tensor([0, 0])
    doubled = max_sensitivity(batch, 2 * batch[:, 0], lambda x, labels: 2 * x[:, 0], classes, 0.1, 5, seeds=[3, 4])
    once = max_sensitivity(batch, batch[:, 0], lambda x, labels: x[:, 0], classes, 0.1, 5, seeds=[3, 4])
    torch.testing.assert_close(doubled, once)
    # Uniform noise of ±r has the root mean square r / √3; the worst of five lies a little above.
    expected = 0.1 / 3**0.5 * 12 / batch[:, 0].flatten(1).norm(dim=1)
    assert ((once > expected) & (once < 1.3 * expected)).all()
    alone = max_sensitivity(batch[1:], batch[1:, 0], lambda x, labels: x[:, 0], classes[1:], 0.1, 5, seeds=[4])
    torch.testing.assert_close(alone, once[1:])
    assert max_sensitivity(batch, 0 * batch[:, 0], lambda x, labels: 0 * x[:, 0], classes).isnan().all()
    with pytest.raises(ValueError, match='samples is at least 1 and radius above 0'):
        max_sensitivity(batch, batch[:, 0], lambda x, labels: x[:, 0], classes, radius=0)


def test_coherency_and_adcc():
    maps = images(2).mean(1)
    torch.testing.assert_close(coherency(maps, 3 * maps + 1), torch.ones(2))
    torch.testing.assert_close(coherency(maps, -maps), torch.zeros(2), atol=1e-6, rtol=0)
    parts = torch.tensor([0.8, 0.9])
    unit = torch.stack([torch.full((4, 4), 0.25), torch.full((4, 4), 0.5)])
    drop = torch.tensor([0.5, 0.1])
    wanted = [3 / (1 / 0.8 + 1 / 0.75 + 1 / 0.5), 3 / (1 / 0.9 + 1 / 0.5 + 1 / 0.9)]
    torch.testing.assert_close(adcc(parts, unit, drop), torch.tensor(wanted))
    assert adcc(torch.tensor([1.0]), torch.zeros(1, 4, 4), torch.tensor([1.0])).item() == 0
