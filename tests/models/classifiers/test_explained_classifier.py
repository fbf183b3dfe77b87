# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import copy

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmentropy.ops.mapping.geometry import MapGrid

MODEL = dict(
    backbone=dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1)),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', num_classes=7, init_cfg=dict(type='Normal', layer='Linear', std=1.0)),
)


def build(name: str, **options):
    return MODELS.build(dict(copy.deepcopy(MODEL), type=f'mmentropy.{name}', **options)).eval()


@pytest.mark.parametrize('method', ['grad_cam', 'layer_cam', 'entropy'])
def test_its_maps_are_the_explainers(method):
    from mmentropy.explain import build_explainer

    plain, explained = build('LocalizationClassifier'), build('ExplainedClassifier', explainer=method)
    torch.nn.init.normal_(plain.head.fc.weight)
    explained.load_state_dict(plain.state_dict())  # interchangeable
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    samples = [DataSample().set_gt_label(6), DataSample().set_gt_label(0)]
    with torch.no_grad():
        ours, base = explained(x, copy.deepcopy(samples), mode='predict'), plain(x, samples, mode='predict')
    for n, (a, b) in enumerate(zip(ours, base)):
        assert torch.equal(a.pred_score, b.pred_score)
        assert a.cam_labels.tolist() == b.cam_labels.tolist()
        assert a.cam_labels[0].item() == (6, 0)[n]
        expected = build_explainer(method, plain)(x[n : n + 1], [a.cam_labels.tolist()]).maps[0]
        torch.testing.assert_close(a.cams, expected.expand_as(a.cams), rtol=1e-4, atol=1e-5)
    if method == 'grad_cam':  # behind global average pooling it is the class map's positive part, over h·w
        torch.testing.assert_close(ours[0].cams, base[0].cams.clamp(min=0) / 16, rtol=1e-4, atol=1e-5)


def test_unknown_method():
    with pytest.raises(ValueError, match='method must be one of cam'):
        build('ExplainedClassifier', explainer='guess')


def predicted(model, x):
    with torch.no_grad():
        return model(x, [DataSample() for _ in x], mode='predict')


def test_its_grid_is_the_explainers():
    x = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    layer = dict(explainer='layer_cam', explainer_options=dict(target_layer='backbone.layer1'))
    explained, base = build('ExplainedClassifier', map_classes='all', **layer), build('LocalizationClassifier')
    base.load_state_dict(explained.state_dict())
    early, plain = predicted(explained, x)[1], predicted(base, x)[1]
    assert early.get('map_grid') == MapGrid((0, 0), (4, 4), (32, 48))
    assert early.cams.shape == (7, 8, 12)
    # Every other location of the finer map looks where one of the plain map does.
    torch.testing.assert_close(early.entropy_map[::2, ::2], plain.entropy_map, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(early.entropy_map[1, 2], plain.entropy_map[:2, 1].mean(), rtol=1e-4, atol=1e-5)
    views = predicted(build('ExplainedClassifier', explainer='cam', explainer_options=dict(flip=True)), x)[0]
    assert views.cams.shape[1:] == views.entropy_map.shape
    assert views.get('map_grid').is_half_pixel(tuple(views.entropy_map.shape))
    assert 'map_grid' not in predicted(build('ExplainedClassifier', grid='half_pixel', **layer), x)[0]


@pytest.mark.parametrize('reading', ['certain', 'certain+spread'])
@pytest.mark.parametrize('multi_label', [False, True])
def test_its_maps_are_read_as_the_plain_models(reading, multi_label):
    x = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    head = dict(MODEL['head'], multi_label=multi_label)
    plain = build('LocalizationClassifier', reading=reading, map_classes='all', head=head)
    explained = build('ExplainedClassifier', explainer='cam', reading=reading, map_classes='all', head=head)
    torch.nn.init.normal_(plain.head.fc.weight)
    explained.load_state_dict(plain.state_dict())
    for ours, theirs in zip(predicted(explained, x), predicted(plain, x)):
        torch.testing.assert_close(ours.cams, theirs.cams, rtol=1e-4, atol=1e-5)
