# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Classes, score functions, targets and regions: every method explains what is asked, or says why not."""

from __future__ import annotations

import pytest
import torch
from small_nets import BY_CLASS, Dense, make
from torch import nn

from mmentropy.explain import Question, build_explainer
from mmentropy.ops.mapping.score_functions import SCORE_FUNCTIONS, difference

GRADIENT = ('grad_cam', 'grad_cam++', 'xgrad_cam', 'layer_cam', 'hires_cam')


@pytest.mark.parametrize('hidden', [False, True])
@pytest.mark.parametrize('method', GRADIENT)
def test_a_difference_of_logits_is_a_class_of_a_network_that_gives_it(method, hidden, images):
    """The same network with one more class, whose logit is z_1 - z_3."""
    model, wider = make(hidden), make(hidden)
    wider.fc = nn.Linear(model.fc.in_features, 6)
    with torch.no_grad():
        wider.fc.weight.copy_(torch.cat([model.fc.weight, model.fc.weight[1:2] - model.fc.weight[3:4]]))
        wider.fc.bias.copy_(torch.cat([model.fc.bias, model.fc.bias[1:2] - model.fc.bias[3:4]]))
    expected = build_explainer(method, wider)(images, 5)
    found = build_explainer(method, model)(images, targets=difference(1, 3))
    torch.testing.assert_close(found.maps, expected.maps, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found.scores[:, 0], expected.logits[:, 5])
    assert found.classes.tolist() == [[-1], [-1]]


def test_cam_of_a_difference_is_the_difference_of_cams(images):
    maps = build_explainer('cam', make())(images).maps
    found = build_explainer('cam', make())(images, targets=difference(1, [0, 3])).maps[:, 0]
    torch.testing.assert_close(found, maps[:, 1] - (maps[:, 0] + maps[:, 3]) / 2, rtol=1e-4, atol=1e-6)
    model = make()
    weighed = build_explainer('entropy_cam', model)(images).maps
    found = build_explainer('entropy_cam', model)(images, targets=difference(1, 3)).maps[:, 0]
    torch.testing.assert_close(found, weighed[:, 1] - weighed[:, 3], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('method', BY_CLASS)
def test_a_target_that_is_a_class_gives_that_class(method, images):
    model = make()
    options = {'references': 2} if method == 'finer_cam' else {}
    explainer = build_explainer(method, model, **options)
    if method in ('finer_cam', 'bag_cams'):
        own = explainer.score_function
        score = SCORE_FUNCTIONS[own] if isinstance(own, str) else own
    else:
        score = SCORE_FUNCTIONS['logit']

    def third(logits):
        return score(logits, torch.full((len(logits), 1), 3))

    expected = explainer(images, 3)
    torch.testing.assert_close(explainer(images, targets=third).maps, expected.maps, rtol=1e-4, atol=1e-6)
    both = explainer(images, targets=[third, lambda logits: score(logits, torch.full((len(logits), 1), 1))])
    torch.testing.assert_close(both.maps[0], expected.maps[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(both.maps[1], explainer(images, 1).maps[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('hidden', [False, True])
@pytest.mark.parametrize('function', sorted(SCORE_FUNCTIONS))
def test_named_functions_of_classes_equal_plain_autograd(function, hidden, images):
    model = make(hidden)
    found = build_explainer('hires_cam', model, score_function=function)(images, [[0, 4], [2, 1]])
    features = model.act(model.body(images)).detach().requires_grad_()
    logits = model.fc(model.hidden(features.mean((2, 3))))
    scores = SCORE_FUNCTIONS[function](logits, found.classes)
    torch.testing.assert_close(found.scores, scores.detach())
    for k in range(2):
        (slope,) = torch.autograd.grad(scores[:, k].sum(), features, retain_graph=True)
        expected = (slope * features).sum(1).relu().detach()
        torch.testing.assert_close(found.maps[:, k], expected, rtol=1e-4, atol=1e-7)


def test_a_network_of_one_output_is_explained_by_it(images):
    model = make()
    model.fc = nn.Linear(8, 1)
    features = model.act(model.body(images)).detach()
    expected = torch.einsum('d,ndhw->nhw', model.fc.weight[0], features).relu().detach() / 35
    found = build_explainer('grad_cam', model)(images, targets=lambda out: out[:, 0])
    torch.testing.assert_close(found.maps[:, 0], expected, rtol=1e-4, atol=1e-7)
    with pytest.raises(ValueError, match='one class only'):
        build_explainer('grad_cam', model, score_function='margin')(images)


@pytest.mark.parametrize(
    ('asked', 'message'),
    [
        ({'classes': 1, 'targets': difference(1, 2)}, 'give classes or targets, not both'),
        ({'targets': 'best'}, "a function of the logits, or a list of them, got 'best'"),
        ({'targets': [difference(1, 2)]}, r'1 target\(s\) were given, but the batch has 2'),
        ({'targets': lambda logits: logits[:, 9]}, 'asks the logits for what they have not'),
        ({'targets': lambda logits: logits.argmax(1)}, 'must give a floating number for each of the 2'),
        ({'targets': lambda logits: logits.sum()}, 'must give a floating number for each of the 2'),
        ({'targets': lambda logits: 3.0}, 'must give a tensor'),
        ({'targets': lambda logits: logits[:, 0].detach()}, 'without a gradient'),
        ({'region': 'all'}, 'this model gives one score an image'),
        ({'region': 'some'}, "region must be one of predicted, all, a mask or a box, got 'some'"),
        ({'classes': [0.5, 1.0]}, 'a score of your own goes in as targets='),
    ],
)
def test_what_does_not_fit_is_a_sentence(asked, message, images):
    with pytest.raises(ValueError, match=message):
        build_explainer('grad_cam', make(hidden=True))(images, **asked)
    with pytest.raises(ValueError, match='score_function must be one of logit, probability'):
        build_explainer('grad_cam', make(), score_function='loss')


class Segmentor(nn.Module):
    """A body at an eighth of the input, and scores drawn back over it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Conv2d(6, 7, 2, 2), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(7, 7, 3, 1, 1), nn.Tanh(), nn.Conv2d(7, 4, 1))

    def forward(self, x):
        return nn.functional.interpolate(self.head(self.backbone(x)), x.shape[2:], mode='bilinear')


@pytest.fixture
def segmentor():
    torch.manual_seed(3)
    return Segmentor().eval()


@pytest.fixture
def scenes():
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))


def by_autograd(model, images, mask, c):
    """HiRes- and Grad-CAM of the class's mean logit over a mask (N, H, W)."""
    features = model.backbone(images).detach().requires_grad_()
    logits = nn.functional.interpolate(model.head(features), images.shape[2:], mode='bilinear')
    mean = (logits[:, c] * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
    (slope,) = torch.autograd.grad(mean.sum(), features)
    features = features.detach()
    return (slope * features).sum(1).relu(), (slope.mean((2, 3), keepdim=True) * features).sum(1).relu()


@pytest.mark.parametrize('kind', ['predicted', 'default', 'all', 'mask', 'one mask', 'box'])
def test_a_region_of_a_segmentor_by_plain_autograd(kind, segmentor, scenes):
    predicted = segmentor(scenes).argmax(1)
    c = int(predicted[0].mode().values.mode().values)
    masks = torch.zeros(2, 32, 48)
    masks[:, 8:20, 4:30] = 1
    mask = {'all': torch.ones(2, 32, 48), 'predicted': predicted == c, 'default': predicted == c}.get(kind, masks)
    region = {'mask': masks, 'one mask': masks[0] > 0, 'box': (4, 8, 30, 20), 'default': None}.get(kind, kind)
    expected = by_autograd(segmentor, scenes, mask.float(), c)
    for method, one in zip(('hires_cam', 'grad_cam'), expected):
        explainer = build_explainer(method, segmentor)
        found = explainer(scenes, [c, c], region=region)
        assert explainer.anatomy.name == 'backbone'
        torch.testing.assert_close(found.maps[:, 0], one, rtol=1e-4, atol=1e-7)
        assert found.maps.max() > 0
        assert found.grid.step == (8, 8)
        assert found.logits.shape == (2, 4)


def test_a_mirrored_region_is_mirrored(segmentor, scenes):
    masks = torch.zeros(32, 48)
    masks[4:12, 8:16] = 1
    plain = build_explainer('grad_cam', segmentor)(scenes.flip(3), 1, region=masks.flip(1))
    both = build_explainer('grad_cam', segmentor, flip=True)(scenes, 1, region=masks)
    first = build_explainer('grad_cam', segmentor)(scenes, 1, region=masks)
    from mmentropy.ops.mapping.scaling import draw_maps

    drawn = [draw_maps(found.maps, (8, 12), found.grid) for found in (first, plain)]
    torch.testing.assert_close(both.maps, (drawn[0] + drawn[1].flip(3)) / 2, rtol=1e-4, atol=1e-7)


def test_regions_that_do_not_fit_are_a_sentence(segmentor, scenes):
    explainer = build_explainer('grad_cam', segmentor)
    for region, message in (
        (torch.zeros(32, 48), 'region of image 0 is empty'),
        (torch.zeros(5, 5), r'region must be a mask \(32, 48\)'),
        ((60, 0, 70, 8), 'holds no pixel of an image of 32x48'),
    ):
        with pytest.raises(ValueError, match=message):
            explainer(scenes, 1, region=region)
    with pytest.raises(ValueError, match='draws the scores of a segmentor at every pixel'):
        build_explainer('cam', segmentor)(scenes, region='all')
    with pytest.raises(ValueError, match='no layer of Dense before its class maps'):
        build_explainer('grad_cam', Dense())(scenes)
    with pytest.raises(KeyError, match="target_layer='neck' names no module"):
        build_explainer('grad_cam', segmentor, target_layer='neck')(scenes)


def test_targets_of_a_segmentor_are_averaged_over_the_region(segmentor, scenes):
    mask = torch.zeros(2, 32, 48)
    mask[:, :16] = 1
    both = [build_explainer('hires_cam', segmentor)(scenes, c, region=mask) for c in (1, 2)]
    found = build_explainer('hires_cam', segmentor)(scenes, targets=difference(1, 2), region=mask)
    torch.testing.assert_close(found.scores, both[0].scores - both[1].scores, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match='no predicted pixels'):
        build_explainer('hires_cam', segmentor)(scenes, targets=difference(1, 2), region='predicted')
    torch.testing.assert_close(
        build_explainer('cam', segmentor)(scenes, targets=difference(1, 2)).maps[:, 0],
        (segmentor(scenes)[:, 1] - segmentor(scenes)[:, 2]).detach(),
    )


def test_asked_by_hand():
    asked = Question(classes=[[0, 2]], function='margin').of(torch.tensor([[1.0, 4.0, 2.0]]))
    assert asked.values.tolist() == [[-3.0, -2.0]]
    assert asked.slopes(torch.tensor([[1.0, 4.0, 2.0]])).tolist() == [[[1.0, -1.0, 0.0], [0.0, -1.0, 1.0]]]
