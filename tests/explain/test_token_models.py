# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""CAM and entropy maps of heads on class tokens, on a class token beside the mean of the patches, and on cosines."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmentropy.explain import CAM, EntropyMap, GradCAM
from mmentropy.explain.anatomy import dissect
from mmentropy.models import CosineClassifier
from mmentropy.ops.certainty.entropy import softmax_entropy


class Cosines(nn.Module):
    """k·cos(x, w), as a margin head's linear layer with the scale in it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 8))

    def forward(self, x):
        return 16 * F.linear(F.normalize(x), F.normalize(self.weight))


class Tokens(nn.Module):
    """Eight pixels a patch, one class token and some registers, one block of attention, a norm, and a head.

    Args:
        read: what the head reads of the normalised tokens: ``class``, ``class+mean``, ``mean+class``, ``mean``.
        registers: tokens between the class token and the patches.
        head: the head; None is linear.
    """

    def __init__(self, read: str, registers: int = 0, head: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read, self.num_prefix_tokens = read, 1 + registers
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.extra = nn.Parameter(torch.randn(1, 1 + registers, 8))
        self.block, self.norm = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), nn.LayerNorm(8)
        self.head = head or nn.Linear(16 if '+' in read else 8, 5)

    def tokens(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        return self.norm(self.block(torch.cat([self.extra.expand(len(x), -1, -1), patches], 1)))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokens(x)
        parts = {'class': tokens[:, 0], 'mean': tokens[:, self.num_prefix_tokens :].mean(1)}
        return self.head(torch.cat([parts[name] for name in self.read.split('+')], 1))

    def located(self, x: Tensor) -> Tensor:
        """(N, D, h, w) by hand."""
        tokens = self.tokens(x)
        return tokens[:, self.num_prefix_tokens :].transpose(1, 2).unflatten(2, (x.shape[2] // 8, x.shape[3] // 8))


IMAGES = torch.randn(2, 3, 24, 40, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize('registers', [0, 4])
def test_a_class_tokens_head_is_read_on_the_patches_and_said_so(registers):
    model = Tokens('class', registers).eval()
    with pytest.warns(UserWarning, match=r"'norm': its classifier reads the class token, and is read on the patch"):
        found = CAM(model)(IMAGES)
    weight, bias = model.head.weight, model.head.bias
    expected = torch.einsum('cd,ndhw->nchw', weight, model.located(IMAGES))
    torch.testing.assert_close(found.maps, expected)
    torch.testing.assert_close(found.logits, model(IMAGES))
    with pytest.warns(UserWarning, match='no patch was trained so'):
        certainty = EntropyMap(model)(IMAGES).maps
    entropy = softmax_entropy(expected + bias.view(1, -1, 1, 1))
    torch.testing.assert_close(certainty[:, 0], torch.log(torch.tensor(5.0)) - entropy, atol=1e-5, rtol=1e-5)
    # Gradients do not ask that layer: no patch of it has one.
    assert dissect(model, IMAGES[:1]).name != 'norm'
    assert GradCAM(model)(IMAGES, 0).maps.abs().sum() > 0


@torch.no_grad()
@pytest.mark.parametrize('read', ['class+mean', 'mean+class'])
def test_a_token_beside_the_mean_adds_up_to_the_logits(read):
    model = Tokens(read, registers=1).eval()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = CAM(model, reading='certain')(IMAGES)
        raw = CAM(model)(IMAGES)
    torch.testing.assert_close(raw.maps.mean((2, 3)) + model.head.bias, raw.logits)
    token, patches = model.tokens(IMAGES)[:, 0], model.located(IMAGES)
    first, second = model.head.weight.split(8, dim=1)
    own, other = (second, first) if read == 'class+mean' else (first, second)
    expected = torch.einsum('cd,ndhw->nchw', own, patches) + (token @ other.T)[:, :, None, None]
    torch.testing.assert_close(raw.maps, expected)
    entropy = softmax_entropy(expected + model.head.bias.view(1, -1, 1, 1))
    torch.testing.assert_close(found.maps, expected.clamp(min=0) * (-entropy)[:, None].exp(), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('read', ['class', 'mean'])
@pytest.mark.parametrize('kind', ['margin', 'declared'])
def test_cosine_heads_are_read_by_directions(read, kind):
    torch.manual_seed(3)
    head = Cosines() if kind == 'margin' else CosineClassifier(torch.randn(5, 8), scale=16)
    model = Tokens(read, head=head).eval()
    if kind == 'declared':
        model.location_classifier = model.head
    with pytest.warns(UserWarning, match='read on the direction of each location'):
        found = CAM(model)(IMAGES)
    prototypes = head.weight if kind == 'margin' else head.prototypes
    expected = 16 * F.cosine_similarity(prototypes[None, :, :, None, None], model.located(IMAGES)[:, None], dim=2)
    torch.testing.assert_close(found.maps, expected, atol=1e-4, rtol=1e-4)


def test_what_cannot_be_read_is_refused_in_one_sentence():
    deep = Tokens('class', head=nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 5))).eval()
    with pytest.raises(ValueError, match='CAM needs a linear classifier on pooled features, and Tokens has none'):
        CAM(deep)(IMAGES)

    class Two(Tokens):
        """The mean of two heads' logits, as a distilled transformer's."""

        def forward(self, x):
            tokens = self.tokens(x)
            return (self.head(tokens[:, 0]) + self.head(tokens[:, 1])) / 2

    with pytest.raises(ValueError, match='and Two has none'):
        CAM(Two('class', registers=1).eval())(IMAGES)


@torch.no_grad()
@pytest.mark.parametrize(('name', 'extra'), [('vit_small_patch14_reg4_dinov2', 5), ('vit_tiny_patch16_224', 1)])
def test_of_timm_with_registers(name, extra):
    import timm

    torch.manual_seed(0)
    patch = 14 if '14' in name else 16
    small = dict(img_size=4 * patch, depth=2, embed_dim=48, num_heads=3, num_classes=5)
    model = timm.create_model(name, global_pool='token', **small).eval()
    nn.init.normal_(model.head.weight)
    images = torch.randn(1, 3, 4 * patch, 4 * patch)
    with pytest.warns(UserWarning, match='reads the class token'):
        found = CAM(model)(images)
    tokens = model.forward_features(images)
    assert tokens.shape[1] == 16 + extra
    expected = torch.einsum('cd,nld->ncl', model.head.weight, tokens[:, extra:]).unflatten(2, (4, 4))
    torch.testing.assert_close(found.maps, expected)
    torch.testing.assert_close(model.head(tokens[:, 0]), found.logits)
