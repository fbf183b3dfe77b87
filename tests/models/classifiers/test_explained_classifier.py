# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import copy

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

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
