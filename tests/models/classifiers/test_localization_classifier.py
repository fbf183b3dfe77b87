# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmentropy.models import LocalizationClassifier
from mmentropy.ops.certainty.entropy import entropy_weights, location_entropy

BACKBONE = dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1))


def build(neck: dict | None = None, head: dict | None = None, **options) -> LocalizationClassifier:
    torch.manual_seed(0)
    cfg = dict(
        type='mmentropy.LocalizationClassifier',
        backbone=dict(BACKBONE),
        neck=neck or dict(type='mmentropy.EntropyPooling'),
        head=head or dict(type='mmentropy.CAMHead', init_cfg=dict(type='Normal', layer='Linear', std=1.0)),
        data_preprocessor=dict(num_classes=7),
        **options,
    )
    model = MODELS.build(cfg)
    model.init_weights()
    return model.eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def samples() -> list[DataSample]:
    return [DataSample().set_gt_label(i) for i in (6, 0, 3)]


def test_fills_in_channels_and_classes_and_ties():
    model = build()
    assert model.head.fc.weight.shape == (7, 64)
    assert model.neck.classifier is model.head.fc


def test_in_channels_of_a_backbone_without_feat_dim():
    backbone = dict(
        type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[4, 8, 12, 20]), gap_before_final_norm=False
    )
    model = MODELS.build(
        dict(
            type='mmentropy.LocalizationClassifier',
            backbone=backbone,
            neck=dict(type='mmentropy.EntropyPooling'),
            head=dict(type='mmentropy.CAMHead', num_classes=3),
        )
    )
    assert model.head.fc.in_features == 20


def test_predict_hangs_the_maps_by_hand(images):
    model = build()
    with torch.no_grad():
        out = model(images, samples(), mode='predict')
        f = model.backbone(images)[-1]
        w, b = model.head.fc.weight, model.head.fc.bias
        entropy = location_entropy(f, w, b)
        pooled = (f * entropy_weights(entropy, 7)[:, None]).sum((2, 3))
        scores = (pooled @ w.t() + b).softmax(1)
    for n, sample in enumerate(out):
        torch.testing.assert_close(sample.pred_score, scores[n], rtol=1e-4, atol=1e-5)
        classes = sample.cam_labels.tolist()
        top5 = scores[n].topk(5).indices.tolist()
        assert classes[0] == samples()[n].gt_label.item()
        assert set(classes) == {classes[0], *top5}
        assert len(set(classes)) == len(classes)
        expected = torch.einsum('kd,dhw->khw', w[classes], f[n])
        torch.testing.assert_close(sample.cams, expected.detach(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(sample.entropy_map, entropy[n], rtol=1e-4, atol=1e-5)
        assert sample.cams.shape[1:] == (4, 6)  # 1/8 of the image


def test_map_classes(images):
    with torch.no_grad():
        out = build(map_classes='all')(images, samples(), mode='predict')
        assert out[0].cam_labels.tolist() == list(range(7))
        chosen = build(map_classes=[5, 2])(images, samples(), mode='predict')
    assert chosen[1].cam_labels.tolist() == [5, 2]
    torch.testing.assert_close(chosen[1].cams, out[1].cams[[5, 2]])
    with pytest.raises(ValueError, match='map_classes must be'):
        build(map_classes='best')


def test_multi_label_samples_keep_the_maps_of_all_labels(images):
    model = build(head=dict(type='mmentropy.CAMHead', multi_label=True))
    data = [DataSample().set_gt_score(torch.tensor([0, 1, 0, 0, 1, 0, 1.0])) for _ in range(3)]
    with torch.no_grad():
        out = model(images, data, mode='predict')
    assert out[0].cam_labels.tolist()[:3] == [1, 4, 6]


def test_behaves_as_image_classifier_with_a_stock_neck_and_head(images):
    stock = dict(neck=dict(type='GlobalAveragePooling'), head=dict(type='LinearClsHead'))
    ours = build(**stock)
    host = ImageClassifier(
        backbone=dict(BACKBONE),
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=7, in_channels=64),
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', num_classes=7),
    ).eval()
    host.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(host.state_dict(), strict=True)
    with torch.no_grad():
        a, b = ours(images, samples(), mode='predict'), host(images, samples(), mode='predict')
    for x, y in zip(a, b):
        assert torch.equal(x.pred_score, y.pred_score)
        assert 'cams' not in x
    ours.train()
    host.train()
    assert torch.equal(ours(images, samples(), mode='loss')['loss'], host(images, samples(), mode='loss')['loss'])


def test_state_dict_interchanges_with_image_classifier(images):
    ours = build(neck=dict(type='GlobalAveragePooling'))
    host = ImageClassifier(
        backbone=dict(BACKBONE),
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=7, in_channels=64),
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', num_classes=7),
    ).eval()
    host.load_state_dict(ours.state_dict(), strict=True)
    build().load_state_dict(host.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), host(images))


def test_neutral_pooling_trains_bit_for_bit_as_the_plain_model(images):
    """mix=1 is GAP: loss and all gradients are those of the plain CAM model."""
    losses, weights = [], []
    for neck in (dict(type='GlobalAveragePooling'), dict(type='mmentropy.EntropyPooling', mix=1.0, detach=True)):
        model = build(neck=neck).train()
        loss = model(images, samples(), mode='loss')['loss']
        loss.backward()
        losses.append(loss.item())
        weights.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert losses[0] == losses[1]
    assert torch.equal(weights[0], weights[1])


def test_deep_copy_keeps_the_tie(images):
    model = build()
    twin = copy.deepcopy(model)
    torch.nn.init.zeros_(twin.head.fc.weight)
    assert twin.neck.classifier is twin.head.fc
    with torch.no_grad():
        f = twin.backbone(images)
        torch.testing.assert_close(twin.neck(f)[0], f[-1].mean((2, 3)))


def test_builds_under_the_scope_of_mmseg_and_of_nothing():
    cfg = dict(
        type='mmentropy.LocalizationClassifier',
        backbone=dict(BACKBONE),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='mmentropy.CAMHead', num_classes=3),
    )
    from mmseg.registry import MODELS as MMSEG_MODELS

    for scope, registry in (('mmseg', MMSEG_MODELS), ('mmengine', MODELS)):
        with DefaultScope.overwrite_default_scope(scope):
            model = registry.build(copy.deepcopy(cfg))
        assert type(model.data_preprocessor).__module__.startswith('mmpretrain')
        assert type(model.head.loss_module).__module__.startswith('mmpretrain')


def test_no_classes_anywhere_is_one_sentence():
    with pytest.raises(ValueError, match='the head needs num_classes'):
        LocalizationClassifier(backbone=dict(BACKBONE), head=dict(type='mmentropy.CAMHead'))
