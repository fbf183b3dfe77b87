# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A faster copy has the same logits, and leaves the model as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from mmentropy.ops.faithfulness.inference_copy import PackedConv, inference_copy


def trained(model: nn.Module) -> nn.Module:
    """Weights and statistics of batch norms that are not those of the start."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return model.eval()


def kinds(model) -> list[str]:
    return [type(module).__name__ for module in model.modules()]


def test_a_resnets_batch_norms_are_folded():
    model, images = trained(resnet18(num_classes=7)), torch.randn(2, 3, 48, 48)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    faster = inference_copy(model, images)
    assert kinds(faster).count('BatchNorm2d') == 0
    if torch.backends.mkldnn.is_available():
        assert (kinds(faster).count('PackedConv'), kinds(faster).count('Conv2d')) == (20, 0)
    assert kinds(model).count('BatchNorm2d') == 20
    other = torch.randn(3, 3, 40, 56)
    with torch.no_grad():
        torch.testing.assert_close(faster(other), model(other), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


class Twice(nn.Module):
    """A batch norm behind two convolutions, one convolution with two readers, one used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.shared = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.norm, self.both = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        a = self.both(self.first(x))
        b = self.both(self.second(x))
        c = self.shared(self.shared(x))
        d = self.norm(c)
        return self.fc((a + b + d).mean((2, 3)))


def test_what_is_used_twice_is_not_folded():
    model, images = trained(Twice()), torch.randn(2, 3, 8, 8)
    faster = inference_copy(model, images)
    assert kinds(faster).count('BatchNorm2d') == 2
    with torch.no_grad():
        torch.testing.assert_close(faster(images), model(images))


@pytest.mark.parametrize(
    'options', [{}, dict(stride=2, padding=1), dict(dilation=2, padding=(2, 1)), dict(groups=2), dict(bias=False)]
)
def test_a_packed_convolution_is_that_of_torch(options):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, **options)
    packed = PackedConv(conv, [2, 4, 12, 10])
    for size in ((2, 4, 12, 10), (5, 4, 9, 17)):  # the size that it was made for, and another
        images = torch.randn(size)
        with torch.no_grad():
            torch.testing.assert_close(packed(images), conv(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('options', [dict(padding='same'), dict(padding=1, padding_mode='reflect')])
def test_other_paddings_stay_as_they_are(options):
    layers = nn.Conv2d(3, 4, 3, **options), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    model, images = trained(nn.Sequential(*layers)), torch.randn(2, 3, 8, 8)
    faster = inference_copy(model, images)
    assert kinds(faster) == ['Sequential', 'Conv2d', 'Identity', 'AdaptiveAvgPool2d', 'Flatten']
    with torch.no_grad():
        torch.testing.assert_close(faster(images), model(images), atol=1e-5, rtol=1e-5)


class Skipping(nn.Module):
    """The convolution's output is read before the batch norm, too."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, x):
        y = self.conv(x)
        return self.fc((self.norm(y) + y).mean((2, 3)))


def test_a_copy_that_differs_is_not_taken():
    model = trained(Skipping())
    assert inference_copy(model, torch.randn(2, 3, 8, 8)) is model


def test_what_cannot_be_copied_is_asked_itself():
    images = torch.randn(2, 3, 8, 8)
    function = lambda x: x.mean((2, 3))  # noqa: E731
    assert inference_copy(function, images) is function
    model = trained(resnet18(num_classes=2))
    model.train()
    assert inference_copy(model, images) is model
    model.eval()

    class Locked:
        def __deepcopy__(self, memo):
            raise RuntimeError('cannot be copied')

    model.lock = Locked()
    assert inference_copy(model, images) is model


def test_a_torch_whose_operators_have_changed_is_asked_as_it_is(monkeypatch):
    def changed(*args):
        raise TypeError('mkldnn_reorder_conv2d_weight() takes other arguments')

    monkeypatch.setattr('mmentropy.ops.faithfulness.inference_copy.PackedConv', changed)
    model = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    assert inference_copy(model, torch.rand(2, 3, 8, 8)) is model
