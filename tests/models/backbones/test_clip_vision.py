# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import pytest
import torch

from mmentropy.explain.grids import LastMapGrid
from mmentropy.models import CLIPVision, EntropyPooling, TokenPooling
from mmentropy.ops.mapping.geometry import MapGrid

ARCH = dict(embed_dims=12, num_layers=3, num_heads=3, feedforward_channels=24)
VISION = dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8, pre_norm=True)
IMAGES = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def tower(**options) -> CLIPVision:
    torch.manual_seed(0)
    built = CLIPVision(dict(VISION), 6, **options).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


@torch.no_grad()
def test_tokens_are_the_hosts_projected():
    model = tower(dense='tokens')
    tokens = model.visual(IMAGES)[-1] @ model.visual_proj.proj
    token, features = model(IMAGES)
    torch.testing.assert_close(token, tokens[:, 0])
    torch.testing.assert_close(features, tokens[:, 1:].reshape(2, 4, 6, 6).permute(0, 3, 1, 2))
    assert len(tower(with_token=False)(IMAGES)) == 1


@torch.no_grad()
def test_the_value_path_is_the_last_block_with_attention_to_oneself():
    model = tower()
    token, features = model(IMAGES)
    torch.testing.assert_close(token, tower(dense='tokens')(IMAGES)[0])
    # The block's own code, its attention replaced by the values: the softmax over one token is one.
    attention = model.visual.layers[-1].attn
    attention.scaled_dot_product_attention = lambda q, k, v, dropout_p=0.0: v
    alone = model.visual(IMAGES)[-1][:, 1:] @ model.visual_proj.proj
    torch.testing.assert_close(features, alone.reshape(2, 4, 6, 6).permute(0, 3, 1, 2))


def test_patches_look_at_their_own_place():
    grid = LastMapGrid()(tower(), IMAGES[:1])
    assert grid == MapGrid((3.5, 3.5), (8, 8), (32, 48))


def test_pooling_of_the_token_and_of_the_map():
    token, features = tower()(IMAGES)
    assert torch.equal(TokenPooling()((token, features))[0], token)
    neck = EntropyPooling()
    neck.tie(torch.nn.Linear(6, 3))
    assert neck((features,))[0].shape == (2, 6)
    with pytest.raises(ValueError, match='gives no class token before its map'):
        TokenPooling()((features,))
    with pytest.raises(ValueError, match=r"dense is one of .* got 'keys'"):
        tower(dense='keys')
