# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Depth, width and size of CIFAR's networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmentropy.models.backbones import CIFARResNet, WideResNet


def layers(network: nn.Module) -> int:
    """3×3 convolutions: the published depth counts them and the classifier."""
    return sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in network.modules())


def parameters(network: nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


def test_resnet56_has_its_layers_and_parameters():
    network = CIFARResNet(56)
    assert layers(network) == 55
    # 0.85 million with the classifier of ten classes (Table 6 of the authors), who have no weights in the shortcuts.
    shortcuts = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert parameters(network) - shortcuts / 1e6 + 650e-6 == pytest.approx(0.853, abs=1e-3)


def test_wrn_28_10_has_its_layers_and_parameters():
    network = WideResNet(28, 10)
    assert layers(network) == 25  # 28 with the authors' count of the three projections
    assert parameters(network) + 640 * 100e-6 + 100e-6 == pytest.approx(36.5, abs=0.1)  # Table 4 of the authors


def test_wide_network_normalises_the_last_map_and_starts_at_full_size():
    torch.manual_seed(0)
    network = WideResNet(16, 1)
    network.eval()  # the host's returns nothing
    seen = {}
    network.layer1.register_forward_hook(lambda m, i, o: seen.update(first=i[0], one=o))
    network.layer3.register_forward_hook(lambda m, i, o: seen.update(last=o))
    image = torch.randn(1, 3, 32, 32)
    (out,) = network(image)
    torch.testing.assert_close(seen['first'], network.conv1(image))
    assert seen['one'].shape == (1, 16, 32, 32)
    torch.testing.assert_close(out, network.final_norm(seen['last']).relu())
    assert set(network.state_dict()) == {k for k in network.state_dict() if not k.startswith('bn1')}
