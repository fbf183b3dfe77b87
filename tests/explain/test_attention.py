# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""LeGrad, rollout and gradient times attention of whole transformers: against a hand-written one and torch-cam."""

from __future__ import annotations

import pytest
import torch
from small_nets import VIT_METHODS, Transformer, make
from torch import nn

from mmentropy.explain import build_explainer
from mmentropy.ops.mapping import attention_maps as ops


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Transformer(class_token=True).eval()


@pytest.fixture
def pictures():
    return torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(1))


def by_hand(model, images):
    """Logits, and the attention of each block as leaves of the graph that follows."""
    kept = []

    def attend(block, tokens):
        q, k, v = (part.unflatten(-1, (block.heads, -1)).transpose(1, 2) for part in block.qkv(tokens).chunk(3, -1))
        attention = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        attention = attention if attention.requires_grad else attention.detach().requires_grad_()
        kept.append(attention)
        return tokens + block.out((attention @ v).transpose(1, 2).flatten(2))

    tokens = model.embed(images)
    for block in model.blocks:
        tokens = attend(block, tokens)
    return model.score(tokens), kept


@pytest.mark.parametrize('class_token', [True, False])
def test_rollout_and_gradients_equal_a_transformer_written_out(class_token, pictures):
    torch.manual_seed(0)
    model, extra = Transformer(class_token=class_token).eval(), int(class_token)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    logits, attention = by_hand(model, pictures)
    rollout = build_explainer('rollout', model)(pictures)
    expected = ops.attention_rollout([one.detach() for one in attention], extra)
    torch.testing.assert_close(rollout.maps.flatten(1), expected, rtol=1e-4, atol=1e-6)
    assert rollout.grid.step == (8, 8)
    found = build_explainer('grad_attention', model, class_chunk=2)(pictures)
    slopes = [[], [], []]
    for c in range(5):
        for part, slope in zip(slopes, torch.autograd.grad(logits[:, c].sum(), attention, retain_graph=True)):
            part.append(slope)
    expected = ops.gradient_attention([a.detach() for a in attention], [torch.stack(s, 1) for s in slopes], extra)
    torch.testing.assert_close(found.maps.flatten(2), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('tokens', ['mean', 'own'])
def test_legrad_is_each_blocks_own_gradient(tokens, model, pictures):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    expected = torch.zeros(2, 5, 12)
    inputs = model.embed(pictures)
    for block in model.blocks:
        q, k, v = (part.unflatten(-1, (block.heads, -1)).transpose(1, 2) for part in block.qkv(inputs).chunk(3, -1))
        attention = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1).requires_grad_()
        out = inputs + block.out((attention @ v).transpose(1, 2).flatten(2))
        read = out.mean(1, keepdim=True).expand_as(out) if tokens == 'mean' else out
        for c in range(5):
            (slope,) = torch.autograd.grad(model.score(read)[:, c].sum(), attention, retain_graph=True)
            expected[:, c] += slope.clamp(min=0).mean((1, 2))[:, 1:] / 3
        inputs = out.detach()
    found = build_explainer('legrad', model, tokens=tokens)(pictures)
    torch.testing.assert_close(found.maps.flatten(2), expected, rtol=1e-4, atol=1e-7)
    assert expected.max() > 0


def test_same_legrad_as_torchcam():
    pytest.importorskip('torchcam', reason='the torchcam package is not installed')
    import torchvision
    from torchcam.methods import LeGrad

    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(64, 16, 4, 4, 64, 128, num_classes=7).eval()
    nn.init.normal_(vit.heads.head.weight)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with LeGrad(vit, list(vit.encoder.layers)) as extractor:
        vit(images)
        expected = extractor([3, 5], vit(images), normalized=False)[0]
    found = build_explainer('legrad', vit)(images, [3, 5]).maps[:, 0]
    assert expected.max() > 0
    torch.testing.assert_close(found / expected.max(), expected / expected.max(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('method', VIT_METHODS)
def test_a_network_without_attention_is_refused_and_left_as_it_was(method, pictures):
    with pytest.raises(ValueError, match=r'reads the attention among all patches .* Net has none .* use GradCAM'):
        build_explainer(method, make())(pictures)
    model = Transformer(class_token=True)
    model.train()
    build_explainer(method, model)(pictures, 1)
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize('method', ['grad_attention', 'legrad'])
def test_some_classes_are_those_of_all(method, model, pictures):
    everything = build_explainer(method, model, class_chunk=2)(pictures)
    some = build_explainer(method, model)(pictures, [[4, 0], [2, 2]])
    for n, k in ((0, 0), (0, 1), (1, 0)):
        torch.testing.assert_close(some.maps[n, k], everything.maps[n, some.classes[n, k]])


def test_wrong_tokens():
    with pytest.raises(ValueError, match="tokens must be 'mean' or 'own'"):
        build_explainer('legrad', make(), tokens='all')
