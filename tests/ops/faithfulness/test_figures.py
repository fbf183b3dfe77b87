# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""All figures together are those of the functions one by one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmentropy.ops.faithfulness.concentration import complexity, sparseness
from mmentropy.ops.faithfulness.figures import FIGURES, check_figures, faithfulness_figures
from mmentropy.ops.faithfulness.perturbation import perturbation_scores
from mmentropy.ops.faithfulness.sanity import (
    adcc,
    coherency,
    max_sensitivity,
    parameter_randomization,
    random_logit,
)

WITHOUT_TRUTH = [name for name, figure in FIGURES.items() if not figure.truth]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 4)
        self.forwards = 0

    def forward(self, x):
        self.forwards += len(x)
        return self.fc(self.conv(x).relu().mean((2, 3)))

    def cams(self, x, classes):
        """The class maps, in [0, 1]."""
        with torch.no_grad():
            maps = torch.einsum('nd,ndhw->nhw', self.fc.weight[classes], self.conv(x).relu())
        low, high = maps.flatten(1).amin(1)[:, None, None], maps.flatten(1).amax(1)[:, None, None]
        return (maps - low) / (high - low)


def example(n=3):
    images = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return Net().eval(), images, torch.arange(n) % 4


def test_they_are_those_of_the_functions():
    model, images, classes = example()
    maps, seeds = model.cams(images, classes), [7, 8, 9]
    found = faithfulness_figures(
        model, images, maps, classes, WITHOUT_TRUTH, model.cams, seeds, dict(samples=3), dict(stages=2), steps=8
    )
    scores = perturbation_scores(model, images, maps, classes, steps=8, seeds=seeds)
    alike = coherency(maps, model.cams(images * maps[:, None], classes))
    wanted = {
        'average_drop': scores.drop,
        'increase': scores.increase,
        'deletion': scores.deletion.area,
        'insertion': scores.insertion.area,
        'road': scores.road,
        'coherency': alike,
        'adcc': adcc(alike, maps, scores.drop),
        'sparseness': sparseness(maps),
        'complexity': complexity(maps),
        'max_sensitivity': max_sensitivity(images, maps, model.cams, classes, samples=3, seeds=seeds),
        'random_logit': random_logit(images, maps, model.cams, classes, 4, seeds).rank,
        'parameter_randomization': parameter_randomization(model, images, maps, model.cams, classes, 2).rank,
    }
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, msg=name)


def test_only_what_is_asked_is_paid_for():
    model, images, classes = example()
    maps = model.cams(images, classes)
    faithfulness_figures(model, images, maps, classes, ['sparseness', 'complexity'])
    assert model.forwards == 0
    faithfulness_figures(model, images, maps, classes, ['average_drop', 'increase'])
    assert model.forwards == 2 * 3


def test_a_constant_map_has_no_curves_and_the_others_have_theirs():
    model, images, classes = example()
    maps = model.cams(images, classes)
    names = ['average_drop', 'deletion', 'road', 'sparseness']
    whole = faithfulness_figures(model, images, maps, classes, names, seeds=[1, 2, 3], steps=8)
    maps[1] = 0
    found = faithfulness_figures(model, images, maps, classes, names, seeds=[1, 2, 3], steps=8)
    assert found['deletion'].isnan().tolist() == found['road'].isnan().tolist() == [False, True, False]
    for name in names:
        torch.testing.assert_close(found[name][[0, 2]], whole[name][[0, 2]])
    itself, black = model(images).softmax(1)[1, 1], model(0 * images).softmax(1)[1, 1]
    torch.testing.assert_close(found['average_drop'][1], (itself - black).clamp(min=0) / itself)
    alone = faithfulness_figures(model, images[1:2], maps[1:2], classes[1:2], names)
    assert alone['road'].isnan().all()


def test_a_model_may_give_a_tuple_or_a_dict():
    model, images, classes = example(1)
    maps = model.cams(images, classes)
    plain = faithfulness_figures(model, images, maps, classes, ['deletion'], steps=8)
    for wrapped in (lambda x: (x, model(x)), lambda x: {'logits': model(x)}):
        torch.testing.assert_close(faithfulness_figures(wrapped, images, maps, classes, ['deletion'], steps=8), plain)


def test_what_cannot_be_asked_is_said():
    model, images, classes = example()
    maps = model.cams(images, classes)
    with pytest.raises(ValueError, match="'faith' is no figure of faithfulness: known are average_drop"):
        check_figures(['faith'])
    with pytest.raises(ValueError, match='metrics must be a list of names'):
        check_figures('road')
    with pytest.raises(ValueError, match='energy compares maps with boxes or masks'):
        faithfulness_figures(model, images, maps, classes, ['energy'])
    with pytest.raises(ValueError, match='adcc explains again, and no function'):
        faithfulness_figures(model, images, maps, classes, ['adcc'])
    with pytest.raises(ValueError, match=r'map 0 of the batch is not within \[0, 1\]'):
        faithfulness_figures(model, images, 5 * maps, classes, ['road'])
