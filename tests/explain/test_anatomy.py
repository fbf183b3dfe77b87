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
