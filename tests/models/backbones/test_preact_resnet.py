# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""ResNet with full pre-activation, block by block."""

import torch
from torch.nn import functional as F

from mmentropy.models.backbones import PreActResNet


def test_preact_block_by_its_formula():
    torch.manual_seed(0)
    model = PreActResNet(18, base_channels=4, stem_channels=4, strides=(1, 2, 2, 1))
    model.eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)

    def norm(layer, x):
        x = (x - layer.running_mean.view(1, -1, 1, 1)) / (layer.running_var.view(1, -1, 1, 1) + layer.eps).sqrt()
        return (x * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)).relu()

    x = torch.randn(2, 8, 6, 6)
    same = model.layer2[1]
    inner = norm(same.norm2, F.conv2d(norm(same.norm1, x), same.conv1.weight, padding=1))
    torch.testing.assert_close(same(x.clone()), x + F.conv2d(inner, same.conv2.weight, padding=1))
    down = model.layer3[0]
    first = norm(down.norm1, x)
    inner = norm(down.norm2, F.conv2d(first, down.conv1.weight, stride=2, padding=1))
    expected = F.conv2d(first, down.shortcut.weight, stride=2) + F.conv2d(inner, down.conv2.weight, padding=1)
    torch.testing.assert_close(down(x.clone()), expected)
    assert expected.shape == (2, 16, 3, 3)

    seen = []
    model.layer4.register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        (last,) = model(torch.randn(1, 3, 64, 64))
    torch.testing.assert_close(last, norm(model.final_norm, seen[0]))
    assert last.shape == (1, 32, 4, 4)
