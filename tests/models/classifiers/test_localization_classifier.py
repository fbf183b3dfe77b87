# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmentropy.evaluation.samples import Case
from mmentropy.explain.grids import LAST_MAP, measured_shift
from mmentropy.models import LocalizationClassifier
from mmentropy.ops.certainty.entropy import entropy_weights, location_entropy
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.reading import Reading, read_maps
from mmentropy.structures import MAP_GRID

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


# -- where its maps are, and how they are read -------------------------------------------------------------------------


def plain(**options) -> LocalizationClassifier:
    return build(neck=dict(type='GlobalAveragePooling'), map_classes='all', **options)


def predicted(model: LocalizationClassifier, images: torch.Tensor) -> list[DataSample]:
    with torch.no_grad():
        return model(images, [DataSample() for _ in images], mode='predict')


def test_maps_tell_where_they_look(images):
    """Padded kernels with stride 2: location 0 looks at pixel 0, not half a step further."""
    model = plain()
    expected = MapGrid((0, 0), (8, 8), (32, 48))
    assert [sample.get(MAP_GRID) for sample in predicted(model, images)] == [expected] * 3
    assert predicted(model, images[..., :40])[0].get(MAP_GRID) == MapGrid((0, 0), (8, 8), (32, 40))
    assert MAP_GRID not in predicted(plain(grid='half_pixel'), images)[0]
    assert set(model.state_dict()) == set(plain(grid='half_pixel').state_dict())


def test_patches_tile_the_image(images):
    backbone = dict(
        type='mmpretrain.ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[4, 8, 12, 20]), gap_before_final_norm=False
    )
    model = MODELS.build(
        dict(
            type='mmentropy.LocalizationClassifier',
            backbone=backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='mmentropy.CAMHead', num_classes=3),
        )
    ).eval()
    grid = predicted(model, torch.randn(1, 3, 64, 96))[0].get(MAP_GRID)
    assert grid.is_half_pixel((2, 3))
    assert grid.size == (64, 96)


def test_the_grid_is_found_once_for_each_size(images):
    model, passes = plain(), []
    model.backbone.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    predicted(model, images)
    assert passes == [3, 1]  # the batch, and one image to follow
    predicted(model, images[:2])
    assert passes == [3, 1, 2]
    predicted(model, images[..., :40])
    assert passes == [3, 1, 2, 3, 1]


def state(model: LocalizationClassifier) -> list:
    """What may not change in passing: gradients, flags and modes."""
    return [(p.requires_grad, p.grad) for p in model.parameters()] + [m.training for m in model.modules()]


def test_finding_the_grid_leaves_the_model_and_its_training_as_they_are(images):
    losses = []
    for predict in (False, True):
        torch.manual_seed(0)
        model = plain(grid='measured').train()
        model.backbone.layer1.requires_grad_(False)
        model.backbone.layer1.eval()
        before = state(model)
        random = torch.get_rng_state()
        if predict:
            grid = model.grid(model.backbone, images)
            assert grid.step == (8, 8)
        assert torch.equal(torch.get_rng_state(), random)
        assert state(model) == before
        model(images, samples(), mode='loss')['loss'].backward()
        losses.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        losses.append(torch.cat([b.flatten().float() for b in model.buffers()]))
    assert torch.equal(losses[0], losses[2])
    assert torch.equal(losses[1], losses[3])


def test_a_measured_grid_is_that_of_the_weights(images):
    model = plain(grid='measured')
    followed = MapGrid((0, 0), (8, 8), (32, 48))
    shift = measured_shift(model.backbone, LAST_MAP, images, followed)
    assert shift != pytest.approx((0, 0), abs=1e-3)
    assert predicted(model, images)[0].get(MAP_GRID).start == pytest.approx(shift)
    again = predicted(model, 2 * images.flip(0))[0].get(MAP_GRID)
    assert again.start == pytest.approx(shift)  # known, whatever the images
    with torch.no_grad():
        model.backbone.conv1.weight.copy_(model.backbone.conv1.weight.roll(1, dims=3))
    model.load_state_dict(model.state_dict())
    moved = predicted(model, images)[0].get(MAP_GRID)
    assert moved.start == pytest.approx(measured_shift(model.backbone, LAST_MAP, images, followed))
    assert moved.start != pytest.approx(shift, abs=1e-3)
    model.train()
    model.eval()
    other = images.flip(3)
    expected = measured_shift(model.backbone, LAST_MAP, other, followed)
    assert predicted(model, other)[0].get(MAP_GRID).start == pytest.approx(expected)


def test_a_backbone_that_nobody_can_follow_is_drawn_half_pixel(images):
    """What goes wrong while the grid is looked for costs the grid, and a sentence, once; never the prediction."""

    def refuse(module, inputs):
        if len(inputs[0]) == 1:
            raise RuntimeError('this network takes batches of two or more')

    model = plain()
    model.backbone.register_forward_pre_hook(refuse)
    with pytest.warns(UserWarning, match='ResNet look could not be found .this network takes batches of two'):
        found = predicted(model, images)
    assert MAP_GRID not in found[0]
    assert 'cams' in found[0]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        predicted(model, images)


@pytest.mark.parametrize('how', ['inference mode', 'autocast', 'compiled', 'compiled backbone', 'copied'])
def test_the_grid_is_found_whichever_way_the_model_runs(how, images):
    model = plain()
    expected = MapGrid((0, 0), (8, 8), (32, 48))
    if how == 'inference mode':
        with torch.inference_mode():
            found = model(images.clone(), [DataSample() for _ in images], mode='predict')
    elif how == 'autocast':
        with torch.autocast('cpu', torch.bfloat16):
            found = predicted(model, images)
    else:
        if how == 'compiled':
            model.forward = torch.compile(model.forward, backend='eager')
        elif how == 'compiled backbone':
            model.backbone = torch.compile(model.backbone, backend='eager')
        else:
            predicted(model, images)
            model = pickle.loads(pickle.dumps(copy.deepcopy(model)))
        found = predicted(model, images)
    assert found[0].get(MAP_GRID) == expected


@pytest.mark.parametrize('reading', ['protocol', 'certain', 'certain+spread', {'relu': True, 'spread': 1, 'power': 2}])
@pytest.mark.parametrize('multi_label', [False, True])
def test_maps_are_read(images, reading, multi_label):
    head = dict(
        type='mmentropy.CAMHead', multi_label=multi_label, init_cfg=dict(type='Normal', layer='Linear', std=1.0)
    )
    model = build(neck=dict(type='GlobalAveragePooling'), map_classes=[4, 1], head=head, reading=reading)
    found = predicted(model, images)
    with torch.no_grad():
        features = model.backbone(images)[-1]
        z = torch.einsum('kd,ndhw->nkhw', model.head.fc.weight, features)
        p = (z + model.head.fc.bias[:, None, None]).sigmoid() if multi_label else z.softmax(1)
        entropy = (-p * p.log() - (1 - p) * (1 - p).log()).mean(1) if multi_label else -(p * p.log()).sum(1)
        expected = read_maps(z[:, [4, 1]], entropy, features, reading)
    for n, sample in enumerate(found):
        torch.testing.assert_close(sample.cams, expected[n], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(sample.entropy_map, entropy[n], rtol=1e-4, atol=1e-4)
    if reading == 'certain':
        torch.testing.assert_close(expected, z[:, [4, 1]].clamp(min=0) * (-entropy[:, None]).exp())


def test_unknown_reading_and_grid():
    with pytest.raises(ValueError, match='reading must be one of protocol, relu, certain'):
        plain(reading='sure')
    with pytest.raises(ValueError, match="grid must be one of followed, measured, half_pixel, got 'sample'"):
        plain(grid='sample')


def test_a_bright_square_is_localised_where_it_is():
    """From the model through the pipeline's resizing to the metric: the box of a square's map lies on the square."""
    model = plain()
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    torch.nn.init.ones_(model.head.fc.weight)
    errors = {'sample': [], 'half_pixel': []}
    for x, y in ((24, 40), (40, 24), (56, 56)):
        image = torch.zeros(1, 3, 96, 96)
        image[..., y : y + 16, x : x + 16] = 1
        sample = predicted(model, image)[0].to_dict() | {'gt_label': torch.tensor([0]), 'ori_shape': (48, 192)}
        for drawing, found in errors.items():
            drawn = Case(sample, 'test', drawing).drawn_map(0, 'cam', (48, 192), 'bilinear')
            rows, columns = np.nonzero(drawn > 0.5 * drawn.max())
            found.append((2 * rows.mean() + 0.5 - (y + 7.5), columns.mean() / 2 - 0.25 - (x + 7.5)))
    assert np.abs(errors['sample']).max() < 0.6
    np.testing.assert_allclose(np.mean(errors['half_pixel'], axis=0), (3.5, 3.5), atol=0.6)


@pytest.mark.parametrize(
    ('neck', 'head', 'declares'),
    [
        (dict(type='GlobalAveragePooling'), None, True),
        (dict(type='mmentropy.LSEPooling', of='scores'), None, True),
        (None, dict(type='LinearClsHead'), True),  # our neck reads its layer
        (dict(type='GlobalAveragePooling'), dict(type='LinearClsHead'), False),
    ],
)
def test_the_classifier_of_locations_is_declared(neck, head, declares):
    model = build(neck, head)
    assert model.location_classifier is (model.head.fc if declares else None)


def test_several_maps_a_class_have_no_one_classifier_of_locations():
    backbone, head = dict(BACKBONE), dict(type='mmentropy.WildcatHead', num_classes=3)
    assert LocalizationClassifier(backbone, None, {**head, 'maps_per_class': 2}).location_classifier is None
    single = LocalizationClassifier(backbone, None, {**head, 'maps_per_class': 1})
    assert single.location_classifier is single.head.fc


def test_method_options_are_those_of_its_pooling():
    neck = dict(type='mmentropy.EntropyPooling', mapping='kl', temperature=0.5, gamma=2.0, topk=3, score='sigmoid')
    model = build(neck)
    options = dict(mapping='kl', temperature=0.5, gamma=2.0, topk=3, score='sigmoid')
    assert model.method_options('entropy_cam') == options
    assert model.method_options('grad_cam') == {}
    # Class maps are read and drawn as predict does.
    assert model.method_options('cam') == {'reading': Reading(), 'grid': 'followed', 'score': 'softmax'}
    assert build(dict(type='GlobalAveragePooling')).method_options('entropy_cam') == {}


def test_a_frozen_backbone_is_the_same_bit_for_bit_after_a_step():
    """Batch statistics, dropout and weight decay would each change it."""
    backbone = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
    neck, head = dict(type='mmentropy.EntropyPooling'), dict(type='mmentropy.CAMHead', num_classes=3)
    torch.manual_seed(0)
    model = LocalizationClassifier(backbone, neck, head, freeze_backbone=True).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    images, samples = torch.randn(4, 3, 64, 64), [DataSample().set_gt_label(i % 3) for i in range(4)]
    model(images, samples, mode='loss')['loss'].backward()
    optimizer.step()
    assert model.training
    assert not any(module.training for module in model.backbone.modules())
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    same = {key for key, value in model.state_dict().items() if torch.equal(value, before[key])}
    assert same == {key for key in before if key.startswith('backbone.')}
    eraser = [dict(type='mmentropy.ADL', layers=['layer3'])]
    with pytest.raises(ValueError, match='erasing works inside the backbone'):
        LocalizationClassifier(backbone, neck, head, freeze_backbone=True, erasing=eraser)
