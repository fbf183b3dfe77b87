# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Grids followed through networks of known kernels, exactly; through the zoo's families, against gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmentropy.explain.anatomy import Anatomy
from mmentropy.explain.following import Follower, fit_grid, follow
from mmentropy.explain.grids import measured_grid
from mmentropy.ops.mapping.geometry import MapGrid


class Net(nn.Module):
    """A function of the image as a network with (N, 1) logits; ``body`` is the layer."""

    def __init__(self, body) -> None:
        super().__init__()
        self.body = body if isinstance(body, nn.Module) else Lambda(body)

    def forward(self, x):
        out = self.body(x)
        return out.flatten(1).mean(1, keepdim=True)


class Lambda(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def of_body(net: nn.Module, channels: int | None = None, extra: int | None = None) -> Anatomy:
    return Anatomy(net.body, 'body', None, 'other', channels, extra)


def followed(body, size=(64, 96), channels=None, extra=None):
    net = Net(body)
    return follow(net, of_body(net, channels, extra), torch.rand(1, 3, *size))


def conv(i, o, k, s=1, p=0, d=1, **kwargs):
    return nn.Conv2d(i, o, k, s, p, d, **kwargs)


class Windows(nn.Module):
    """Patches, attention in shifted windows of tokens, merging: the moves of a Swin, padded to whole windows."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.qkv, self.merge = conv(3, 8, 4, 4), nn.Linear(8, 24), nn.Linear(32, 16)

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        y = F.pad(x, (0, 0, 0, -w % 5, 0, -h % 5))
        padded = y.shape[1:3]
        y = y.roll((-2, -2), (1, 2))
        y = y.view(n, padded[0] // 5, 5, padded[1] // 5, 5, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 25, c)
        q, k, v = self.qkv(y).chunk(3, -1)
        y = (q @ k.transpose(1, 2)).softmax(-1) @ v
        y = y.view(n, padded[0] // 5, padded[1] // 5, 5, 5, c).permute(0, 1, 3, 2, 4, 5).reshape(n, *padded, c)
        x = x + y.roll((2, 2), (1, 2))[:, :h, :w]
        x = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)
        return F.layer_norm(self.merge(x), (16,))


class Tokens(nn.Module):
    """A class token, registers and patches through a stock transformer layer, twice its way of attending."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.patches, self.token = conv(3, 8, 16, 16), nn.Parameter(torch.zeros(1, 2, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) if fused else nn.Linear(8, 8)
        self.fused = fused

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return self.layer(x) if self.fused else x + F.scaled_dot_product_attention(x, self.layer(x), x)


class Gated(nn.Module):
    """A padded strided convolution times a gate of pooled features, plus a map for all places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = conv(3, 8, 3, 2, 1), nn.Linear(8, 8)

    def forward(self, x):
        x = self.conv(x)
        x = x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]
        return x + F.adaptive_avg_pool2d(x, 1) + x.flatten(2).mean(2)[:, :, None, None].expand_as(x)


class WritesInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 8, 3, 2, 1)

    def forward(self, x):
        x = self.conv(x)
        out = torch.zeros_like(x)
        out[:, :4] = x[:, 4:]
        out[:, 4:, 1:] += x[:, :4, 1:]
        out[:, 4:, :1].copy_(x[:, 4:, :1])
        return out.relu_()


def tf_same(x, kernel, stride):
    """Padding as TensorFlow has it: what is odd goes to the right and below."""
    need = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:]]
    return F.pad(x, (need[1] // 2, need[1] - need[1] // 2, need[0] // 2, need[0] - need[0] // 2))


tf_conv = conv(3, 4, 3, 2)
#: Body, start, step (y, x), and channels and extra tokens of the output where they are needed.
NETS = {
    'padded 3x3 stride 2': (lambda: nn.Sequential(*(conv(3, 3, 3, 2, 1) for _ in range(3))), (0, 0), (8, 8)),
    'patches': (lambda: conv(3, 4, 16, 16), (7.5, 7.5), (16, 16)),
    '2x2 pooling': (
        lambda: nn.Sequential(conv(3, 4, 3, 1, 1), *(nn.MaxPool2d(2) for _ in range(3))),
        (3.5, 3.5),
        (8, 8),
    ),
    'dilated': (
        lambda: nn.Sequential(conv(3, 4, 3, 2, 1), conv(4, 4, 3, 1, 2, 2), conv(4, 4, 3, 1, 0, 4)),
        (8, 8),
        (2, 2),
    ),
    'asymmetric padding': (lambda: lambda x: tf_conv(tf_same(x, 3, 2)), (1, 1), (2, 2)),
    'same, even kernel': (lambda: conv(3, 4, 4, 1, 'same'), (0.5, 0.5), (1, 1)),
    'strides of their own': (lambda: conv(3, 4, (3, 5), (2, 4), (1, 0), groups=1), (0, 2), (2, 4)),
    'depthwise': (lambda: nn.Sequential(conv(3, 6, 3, 2, 1, groups=3), conv(6, 6, 5, 2, 2, groups=6)), (0, 0), (4, 4)),
    'ceil mode': (
        lambda: nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
        (1, 1),
        (4, 4),
    ),
    'adaptive pooling': (lambda: nn.AdaptiveAvgPool2d((16, 32)), (1.5, 1), (4, 3)),
    'transposed': (lambda: nn.Sequential(conv(3, 4, 8, 8), nn.ConvTranspose2d(4, 4, 4, 2, 1)), (1.5, 1.5), (4, 4)),
    'bilinear': (
        lambda: lambda x: F.interpolate(F.avg_pool2d(x, 8), scale_factor=2, mode='bilinear'),
        (1.5, 1.5),
        (4, 4),
    ),
    'align corners': (
        lambda: lambda x: F.interpolate(x, (22, 20), mode='bilinear', align_corners=True),
        (0, 0),
        (3, 5),
    ),
    'nearest': (lambda: lambda x: F.interpolate(F.avg_pool2d(x, 8), scale_factor=2), (1.5, 1.5), (4, 4)),
    'slices': (lambda: lambda x: x[:, :, 1::4, 3::4], (1, 3), (4, 4)),
    'pixel unshuffle': (lambda: nn.PixelUnshuffle(4), (1.5, 1.5), (4, 4)),
    'pixel shuffle': (lambda: nn.Sequential(conv(3, 16, 8, 8), nn.PixelShuffle(2), conv(4, 4, 1)), (1.5, 1.5), (4, 4)),
    'unfold': (
        lambda: lambda x: F.unfold(x, 4, padding=2, stride=4).unflatten(2, (17, 25)).mean(1, keepdim=True),
        (-0.5, -0.5),
        (4, 4),
    ),
    'windows': (Windows, (3.5, 3.5), (8, 8), 16),
    'tokens': (lambda: Tokens(False), (7.5, 7.5), (16, 16), 8, 2),
    'fused transformer': (lambda: Tokens(True), (7.5, 7.5), (16, 16), 8, 2),
    'gates': (Gated, (0, 0), (2, 2)),
    'in place': (WritesInPlace, (0, 0), (2, 2)),
}


@pytest.mark.parametrize('name', NETS)
def test_known_kernels_exactly(name):
    body, start, step, *hints = NETS[name]
    torch.manual_seed(0)
    grid, notes = followed(body(), (64, 96), *hints)
    assert grid == MapGrid(start, step, (64, 96))
    assert notes == []


def test_branches_that_disagree_are_averaged_and_told():
    one, two = conv(3, 4, 3, 2, 1), conv(3, 4, 2, 2)
    grid, notes = followed(lambda x: one(x) + two(x))
    assert grid == MapGrid((0.25, 0.25), (2, 2), (64, 96))
    assert len(notes) == 1
    assert 'different places' in notes[0]
    # Side by side in the channels they are averaged by the next layer, each by its channels.
    three, mixed = conv(3, 12, 2, 2), conv(16, 4, 1)
    grid, _ = followed(lambda x: mixed(torch.cat([one(x), three(x)], 1)))
    assert grid.start == pytest.approx((0.375, 0.375))


def test_a_layer_that_cannot_be_followed_is_named():
    grid, notes = followed(lambda x: torch.from_numpy(F.avg_pool2d(x, 8).numpy()))
    assert grid is None
    assert "followed to layer 'body'" in notes[0]
    grid, notes = followed(lambda x: torch.linalg.pinv(x)[..., :8, :8])
    assert grid is None
    assert 'no place is known behind' in notes[0]


def test_model_is_left_as_it_was():
    net = Net(nn.Sequential(conv(3, 4, 3, 2, 1), nn.BatchNorm2d(4))).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    fast = torch.backends.mha.get_fastpath_enabled()
    follow(net, of_body(net), torch.rand(1, 3, 32, 32))
    assert net.training
    assert net.body[1].training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert not net.body._forward_hooks


def test_places_are_moved_as_numbers_are():
    # A network of moves only: the value is its place, so the places can be read off the output.
    size = (12, 20)
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(20.0), indexing='ij')
    image = torch.stack([y, x, y])[None]
    with torch.no_grad(), Follower(image) as follower:
        out = F.pixel_unshuffle(image.flip(3), 2).roll((1, 3), (2, 3))[:, :, 1:, ::2]
        out = out.permute(0, 2, 3, 1).reshape(1, -1, 12).split([10, 15], 1)[1].unbind(0)[0].T.unfold(1, 4, 3)
    place = follower.places[out]
    assert torch.equal(place.y[:4].float(), out[:4])
    assert torch.equal(place.x[4:8].float(), out[4:8])
    assert size == (12, 20)


def test_fit():
    y, x = np.mgrid[:5, :4] * 8.0
    assert fit_grid(y - 2, 3 + x / 2, (40, 16)) == MapGrid((-2, 3), (8, 4), (40, 16))
    y[0, 0] = np.nan
    assert fit_grid(y, x, (40, 32)) == MapGrid((0, 0), (8, 8), (40, 32))
    y[1, 1] += 7
    assert fit_grid(y, x, (40, 32)) is None
    assert fit_grid(np.full((3, 3), 5.0), x[:3, :3], (24, 24)) is None
    assert fit_grid(np.full((1, 1), 11.0), np.full((1, 1), 9.0), (24, 20)) == MapGrid((11, 9), (24, 20), (24, 20))


# -- the families of the zoo -------------------------------------------------------------------------------------------

#: Backbone, input size, and what the arithmetic gives: the offset from half-pixel drawing at a step of 32.
FAMILIES = {
    'ResNet': (dict(type='ResNet', depth=18), 288, -15.5),
    'ResNet, stride 16': (dict(type='ResNet', depth=18, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)), 256, -7.5),
    'ResNetV1d': (dict(type='ResNetV1d', depth=50), 288, -8.5),
    'SEResNet': (dict(type='SEResNet', depth=50), 288, -15.5),
    'RepVGG': (dict(type='RepVGG', arch='A0', out_indices=(3,)), 288, -15.5),
    'RegNet': (dict(type='RegNet', arch='regnetx_400mf'), 288, -15.5),
    'MobileNetV2': (dict(type='MobileNetV2', widen_factor=0.25), 288, -15.5),
    'MobileNetV3': (dict(type='MobileNetV3', arch='small'), 288, -15.5),
    'ShuffleNetV2': (dict(type='ShuffleNetV2', widen_factor=0.5), 288, -15.5),
    'EfficientNet': (dict(type='EfficientNet', arch='b0'), 288, 15.5),
    'EfficientNetV2': (dict(type='EfficientNetV2', arch='b0'), 288, 15.5),
    'DenseNet': (dict(type='DenseNet', arch='121'), 288, -1.5),
    'CSPDarkNet': (dict(type='CSPDarkNet', depth=53), 288, -15.5),
    'VGG': (dict(type='VGG', depth=11), 256, 0.0),
    'PoolFormer': (dict(type='PoolFormer', arch='s12'), 288, -14.5),
    'MobileViT': (dict(type='MobileViT', arch='xx_small'), 256, -15.5),
    'ConvNeXt': (dict(type='ConvNeXt', arch='atto', gap_before_final_norm=False), 288, 0.0),
    'ViT': (dict(type='VisionTransformer', arch='deit-t', img_size=128, out_type='featmap'), 128, 0.0),
    'Swin': (
        dict(type='SwinTransformer', arch=dict(embed_dims=12, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 4])),
        256,
        0.0,
    ),
    'PreActResNet': (dict(type='PreActResNet', depth=18), 288, -15.5),
    'EfficientNet, odd input': (dict(type='EfficientNet', arch='b0'), 257, 0.0),
    'VGGGAP': (dict(type='VGGGAP', depth=11), 256, 0.0),
    'ConvNeXt, enlarged': (
        dict(
            type='EnlargedBackbone',
            backbone=dict(type='mmpretrain.ConvNeXt', arch='atto', gap_before_final_norm=False),
            stride_one=['downsample_layers.3'],
        ),
        256,
        0.0,
    ),
    'AlexNetGAP': (dict(type='AlexNetGAP'), 256, None),
    'GoogLeNetGAP': (dict(type='GoogLeNetGAP'), 256, None),
    'InceptionV3CAM': (dict(type='InceptionV3CAM'), 256, None),
}


class Backbone(nn.Module):
    """Logits of the mean of a backbone's last map."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        import mmpretrain.models  # noqa: F401  registers the hosts' backbones

        import mmentropy.models  # noqa: F401  registers ours
        from mmentropy.registry import MODELS

        ours = MODELS.get(config['type']) is not None
        self.body = MODELS.build(config if ours else {**config, 'type': f'mmpretrain.{config["type"]}'})

    def forward(self, x):
        out = self.body(x)
        return (out[-1] if isinstance(out, tuple | list) else out).mean((2, 3))


def bump(length: int) -> torch.Tensor:
    """A positive symmetric kernel with most in the middle, so that little of a receptive field leaves the image."""
    weight = torch.full((length,), 0.2 / length)
    middle = slice((length - 1) // 2, length // 2 + 1)
    weight[middle] += 0.8 / (2 - length % 2)
    return weight


def linearise(model: nn.Module) -> None:
    """Positive symmetric kernels, means for maxima, and nothing else: the centroid of the gradient is the place."""

    def same(x, *args, **kwargs):
        return x

    for module in model.modules():
        name = type(module).__name__
        if isinstance(module, nn.Conv2d):
            kernel = bump(module.kernel_size[0])[:, None] * bump(module.kernel_size[1])
            module.weight.data = (kernel / module.weight.shape[1]).expand_as(module.weight).clone()
        elif isinstance(module, nn.Linear):
            nn.init.constant_(module.weight, 1 / module.in_features)
        elif isinstance(module, nn.MaxPool2d):
            module.forward = nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode).forward
        elif name in ('WindowMSA', 'ShiftWindowMSA', 'MultiheadAttention'):
            module.forward = lambda x, *args, **kwargs: torch.zeros_like(x)
        elif (
            'Norm' in name
            or 'SELayer' in name
            or type(module).__module__.startswith('torch.nn.modules.activation')
            or name in ('Swish', 'HSwish', 'HSigmoid', 'LayerScale', 'DropPath', 'GRN')
        ):
            module.forward = same
        if isinstance(getattr(module, 'bias', None), nn.Parameter):
            nn.init.zeros_(module.bias)


@pytest.mark.slow
@pytest.mark.parametrize('name', FAMILIES)
def test_families_followed_as_measured(name):
    pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')
    config, pixels, offset = FAMILIES[name]
    model = Backbone(config).eval()
    image = torch.rand(1, 3, pixels, pixels)
    grid, _ = follow(model, of_body(model), image)
    linearise(model)
    again, _ = follow(model, of_body(model), image)
    assert again == grid  # the grid is the arithmetic's, whatever the weights
    with torch.no_grad():
        shape = model.body(image)[-1].shape[-2:]
    if offset is not None:
        assert grid.offset(tuple(shape)) == pytest.approx((offset, offset), abs=1e-4)
    found = measured_grid(model, of_body(model), image, power=1, block=1 + (shape[0] % 2 == 0), like=grid)
    assert found.start == pytest.approx(grid.start, abs=0.25)
