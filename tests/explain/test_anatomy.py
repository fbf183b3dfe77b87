# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The last map and the classifier are found in networks that the library has never seen."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from mmentropy.explain import CAM, GradCAM, dissect


def stock(name: str) -> nn.Module:
    """A network of torchvision, timm or mmpretrain with random weights, its classifier made non-zero."""
    family, name = name.split('/')
    torch.manual_seed(0)
    if family == 'torchvision':
        import torchvision

        model = torchvision.models.get_model(name)
    elif family == 'timm':
        model = pytest.importorskip('timm', reason='timm is not installed').create_model(name, num_classes=10)
    else:
        model = pytest.importorskip('mmpretrain', reason='mmpretrain is not installed').get_model(name)
    for module in model.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.02)
    return model.eval()


@pytest.mark.parametrize(
    ('name', 'size', 'layer', 'pooling', 'grid'),
    [
        ('torchvision/resnet18', (64, 96), 'layer4', 'mean', (2, 3)),
        ('torchvision/squeezenet1_1', (64, 96), 'classifier.2', 'mean', (3, 5)),
        ('torchvision/mobilenet_v3_small', (64, 96), 'features', 'other', (2, 3)),
        ('torchvision/swin_t', (64, 96), 'permute', 'mean', (2, 3)),
        ('torchvision/vit_b_32', (224, 224), 'encoder.layers.encoder_layer_11.ln_1', 'tokens', (7, 7)),
        ('timm/vit_tiny_patch16_224', (224, 224), 'blocks.11.norm1', 'tokens', (14, 14)),
        ('timm/deit_tiny_distilled_patch16_224', (224, 224), 'blocks.11.norm1', 'tokens', (14, 14)),
        ('timm/convnext_atto', (64, 96), 'stages', 'other', (2, 3)),
        ('mmpretrain/mobilenet-v2_8xb32_in1k', (64, 96), 'backbone', 'mean', (2, 3)),
        ('mmpretrain/deit-tiny_4xb256_in1k', (224, 224), 'backbone.layers.11.ln1', 'tokens', (14, 14)),
        ('mmpretrain/swin-tiny_16xb64_in1k', (224, 256), 'backbone', 'mean', (7, 8)),
        ('mmpretrain/regnetx-400mf_8xb128_in1k', (64, 96), 'backbone', 'mean', (2, 3)),
    ],
)
def test_stock_families(name, size, layer, pooling, grid):
    model = stock(name)
    images = torch.randn(2, 3, *size)
    explainer = GradCAM(model)
    maps = explainer(images, [1, 2]).maps
    assert (explainer.anatomy.name, explainer.anatomy.pooling) == (layer, pooling)
    assert maps.shape == (2, 1, *grid)
    assert maps.any()
    # Grad-CAM once more, by plain autograd on the layer that was found.
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o))
    logits = model(images)
    handle.remove()
    output = kept[0][-1] if isinstance(kept[0], tuple) else kept[0]
    slope = torch.autograd.grad(logits[0, 1] + logits[1, 2], output)[0]
    f, g = (explainer.anatomy.to_map(x.detach(), size) for x in (output, slope))
    expected = (g.mean((2, 3), keepdim=True) * f).sum(1, keepdim=True).relu()
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


class Tail(nn.Module):
    """A map, a pooling of one's choice, a linear layer."""

    def __init__(self, pool, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 8, 8)
        self.norm = norm or nn.Identity()
        self.pool = pool
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.norm(self.pool(self.body(x))))


def test_other_poolings_are_told_from_the_mean():
    image = torch.rand(1, 3, 32, 32)
    assert dissect(Tail(lambda f: f.mean((2, 3))), image).pooling == 'mean'
    assert dissect(Tail(lambda f: f.amax((2, 3))), image).pooling == 'other'
    model = Tail(lambda f: f.mean((2, 3)), nn.LayerNorm(8))
    with pytest.warns(UserWarning, match='plain mean'):
        CAM(model)(image)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        CAM(Tail(lambda f: f.mean((2, 3))))(image)


def test_own_poolings_give_cams_without_a_warning():
    classifiers = pytest.importorskip('mmentropy.models', reason='mmpretrain is not installed')
    backbone = {'type': 'ResNet', 'depth': 18, 'base_channels': 8, 'stem_channels': 8}
    model = classifiers.LocalizationClassifier(
        backbone,
        {'type': 'mmentropy.EntropyPooling'},
        {'type': 'mmentropy.CAMHead', 'num_classes': 3, 'in_channels': 64},
    )
    image = torch.rand(1, 3, 64, 96)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = CAM(model)(image)
    expected = model.eval().head.maps(model.extract_feat(image, stage='backbone')[-1])
    torch.testing.assert_close(found.maps, expected.detach())


def test_map_of_one_location_is_a_map():
    model = Tail(lambda f: f.mean((2, 3)))
    image = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(CAM(model)(image).maps[..., 0, 0] + model.fc.bias, model(image))


def test_names_are_taken_and_wrong_ones_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, 2))
    model = nn.Sequential(model, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    image = torch.rand(1, 3, 33, 33)
    assert dissect(model, image).name == '0'
    assert dissect(model, image, target_layer='0.1', classifier='3').name == '0.1'
    with pytest.raises(KeyError, match=r"target_layer='layer4' names no module"):
        dissect(model, image, target_layer='layer4')
    with pytest.raises(ValueError, match='must be a linear layer'):
        dissect(model, image, classifier='0.0')
    with pytest.raises(ValueError, match='name the layer'):
        dissect(model, image, target_layer='2')
    with pytest.raises(ValueError, match='name the layer'):
        dissect(nn.Sequential(nn.Flatten(), nn.Linear(3 * 33 * 33, 2)), image)


class Transformer(nn.Module):
    """Patches and a class token, mixed by one layer; reads the token, or a norm of the patches' mean."""

    def __init__(self, by_token: bool) -> None:
        super().__init__()
        self.by_token = by_token
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 12))
        self.block = nn.TransformerEncoderLayer(12, 2, 20, batch_first=True)
        self.last = nn.LayerNorm(12)
        self.norm = nn.LayerNorm(12)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)], 1)
        tokens = self.last(self.block(tokens))
        return self.fc(tokens[:, 0] if self.by_token else self.norm(tokens[:, 1:].mean(1)))


def test_the_gradient_tells_whether_a_class_token_is_read():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 48)
    model = Transformer(by_token=False).eval()
    anatomy = dissect(model, image)
    assert (anatomy.name, anatomy.pooling, anatomy.extra_tokens) == ('last', 'other', 1)
    with pytest.warns(UserWarning, match='plain mean'):
        maps = CAM(model)(image).maps
    kept = []
    model.last.register_forward_hook(lambda m, i, o: kept.append(o))
    model(image)
    expected = (kept[0][:, 1:] @ model.fc.weight.T).transpose(1, 2).unflatten(2, (4, 6))
    torch.testing.assert_close(maps, expected.detach())

    model = Transformer(by_token=True).eval()
    anatomy = dissect(model, image)
    assert anatomy.pooling == 'tokens'
    assert anatomy.name != 'last'
    assert dissect(model, image, by_location=True).name == 'last'  # tests/explain/test_token_models.py
    with pytest.raises(ValueError, match='needs a linear classifier on pooled features'):
        CAM(model, target_layer='block')(image)


def test_tokens_before_the_patches_count_only_where_declared():
    torch.manual_seed(0)
    model = Transformer(by_token=False).eval()
    model.prefix = model.cls_token  # the same parameter, by a name that says nothing
    del model.cls_token
    model.forward = lambda x: model.fc(
        model.last(torch.cat([model.prefix, model.patches(x).flatten(2).transpose(1, 2)], 1))[:, 1:].mean(1)
    )
    assert dissect(model, torch.rand(1, 3, 32, 48)).name == 'patches'


class Wide(nn.Module):
    """A map of the classifier's width early on, and a narrower one behind it; the last map is what counts."""

    def __init__(self, hidden: nn.Module, width: int) -> None:
        super().__init__()
        self.early, self.late = nn.Conv2d(3, 16, 4, 4), nn.Conv2d(16, width, 2, 2)
        self.hidden, self.fc = hidden, nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(self.hidden(self.late(self.early(x)).mean((2, 3))))


@pytest.mark.parametrize('width', [8, 16])
def test_the_last_map_comes_before_one_that_has_the_width_of_the_classifier(width):
    image = torch.rand(1, 3, 32, 32)
    model = Wide(nn.Sequential(nn.Linear(width, 16), nn.Tanh()), width)
    anatomy = dissect(model, image)
    # With the same width by chance, the layer between still makes the weights those of other units.
    assert (anatomy.name, anatomy.classifier) == ('late', None)
    with pytest.raises(ValueError, match='use GradCAM'):
        CAM(model)(image)


def test_a_vector_kept_as_a_map_of_one_location_is_not_the_map():
    image = torch.rand(1, 3, 32, 32)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 16, 1), nn.Flatten(), nn.Linear(16, 5))
    )
    assert (dissect(model, image).name, dissect(model, image).classifier) == ('0', None)


class AlongsideAConstant(nn.Module):
    """A position encoding is computed after the map, from its size alone: no gradient, hence no map."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.position, self.fc = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(1, 8, 1), nn.Linear(8, 5)

    def forward(self, x):
        features = self.body(x)
        position = self.position(torch.ones_like(features[:, :1]))
        return self.fc((features + position.detach()).mean((2, 3)))


def test_what_does_not_depend_on_the_image_is_no_map():
    assert dissect(AlongsideAConstant(), torch.rand(1, 3, 32, 32)).name == 'body'


def test_classes_that_read_a_channel_each_need_no_classifier():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32)
    model = nn.Sequential(nn.Conv2d(3, 5, 8, 8), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    anatomy = dissect(model, image)
    assert (anatomy.name, anatomy.pooling) == ('0', 'other')
    assert torch.equal(anatomy.classifier.weight, torch.eye(5))
    mixed = nn.Sequential(nn.Conv2d(3, 5, 8, 8), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Softmax(1))
    assert dissect(mixed, image).classifier is None


def test_the_answer_does_not_depend_on_the_image():
    torch.manual_seed(0)
    model = Tail(lambda f: f.amax((2, 3)))
    black = torch.zeros(1, 3, 32, 32)
    assert dissect(model, black).pooling == 'other'  # the maximum of a constant map is its mean


@pytest.mark.parametrize('heads', [16, 4])
def test_attention_is_no_map(heads):
    """(1, heads, n, n) has the proportions of a square image, and may come last."""

    class Attention(nn.Module):
        def forward(self, x):
            return x[:, None].expand(-1, heads, -1, -1) @ x.transpose(1, 2)[:, None]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.tokens = nn.Linear(192, 16), nn.LayerNorm(16)
            self.attention, self.fc = Attention(), nn.Linear(16, 5)

        def forward(self, x):
            patches = nn.functional.unfold(x, 8, stride=8).transpose(1, 2)
            tokens = self.tokens(self.embed(patches))
            weights = self.attention(tokens).mean(1)
            return self.fc((weights @ tokens).mean(1))

    assert dissect(Net(), torch.rand(1, 3, 48, 48)).name == 'tokens'


def test_own_poolings_of_scores_are_read_by_the_classifier_that_they_declare():
    models = pytest.importorskip('mmentropy.models', reason='mmpretrain is not installed')
    backbone = {'type': 'ResNet', 'depth': 18, 'base_channels': 8, 'stem_channels': 8}
    model = models.LocalizationClassifier(
        backbone, {'type': 'mmentropy.LSEPooling', 'of': 'scores'}, {'type': 'mmentropy.CAMHead', 'num_classes': 3}
    )
    image = torch.rand(1, 3, 64, 96)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = CAM(model)(image)
    expected = model.eval().head.maps(model.extract_feat(image, stage='backbone')[-1])
    torch.testing.assert_close(found.maps, expected.detach())


def test_a_classifier_that_is_named_is_read_with_the_warning_about_what_stands_between():
    model = Tail(lambda f: f.mean((2, 3)), nn.LayerNorm(8))
    with pytest.warns(UserWarning, match='plain mean'):
        CAM(model, classifier='fc')(torch.rand(1, 3, 32, 32))


def test_any_layer_with_a_map_may_be_named():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 4, 4), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    image = torch.rand(1, 3, 32, 32)
    assert dissect(model, image).name == '0'
    assert GradCAM(model, target_layer='1')(image, 0).maps.shape == (1, 1, 4, 4)


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_it_works_where_no_gradients_are_kept(mode):
    model, image = Transformer(by_token=True).eval(), torch.rand(1, 3, 32, 48)
    expected = dissect(model, image)
    with mode():
        assert dissect(model, image) == expected
        assert dissect(model, torch.rand(1, 3, 32, 48)) == expected


def test_a_model_without_a_head_is_refused():
    class Headless(nn.Conv2d):
        with_head = False

    with pytest.raises(ValueError, match='Headless has no head'):
        CAM(Headless(3, 8, 3))(torch.rand(1, 3, 32, 48))


def test_a_frozen_body_gives_no_gradients_and_its_last_map():
    class Frozen(Tail):
        def forward(self, x):
            with torch.no_grad():
                features = self.body(x)
            return self.fc(features.mean((2, 3)))

    anatomy = dissect(Frozen(None), torch.rand(1, 3, 32, 32))
    assert (anatomy.name, anatomy.pooling) == ('body', 'mean')


class SharedActivation(nn.Module):
    """One activation module, called behind each of two convolutions of other strides, as EfficientNet-Lite has it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)
        self.activation, self.head = nn.ReLU(), nn.Linear(6, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.activation(self.second(self.activation(self.first(images))))
        return self.head(features.mean((2, 3)))


def test_a_module_that_is_called_twice_is_two_layers():
    torch.manual_seed(0)
    model, images = SharedActivation().eval(), torch.rand(1, 3, 16, 16)
    explainer = CAM(model)
    found = explainer(images)
    assert (explainer.anatomy.name, explainer.anatomy.pooling) == ('activation', 'mean')
    features = model.second(model.first(images).relu()).relu()
    expected = torch.einsum('kd,ndhw->nkhw', model.head.weight, features)
    torch.testing.assert_close(found.maps, expected.detach())
