# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A CLIP of a few thousand parameters, and a vocabulary of a few merges."""

from __future__ import annotations

from pathlib import Path

#: Merges in the order of the vocabulary.
MERGES = ('a t</w>', 'r e', 'c at</w>', 're d</w>', 'd o', 'do g</w>', 'p h', 'o f</w>')
SETTINGS = dict(
    type='CLIPZeroShot',
    vision_backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=24, num_layers=3, num_heads=3, feedforward_channels=48),
        img_size=32,
        patch_size=8,
        pre_norm=True,
        layer_cfgs=dict(act_cfg=dict(type='QuickGELU')),
    ),
    projection=dict(type='CLIPProjection', in_channels=24, out_channels=12),
    text_backbone=dict(type='CLIPTransformer', width=16, layers=2, heads=2, attn_mask=True),
    tokenizer=dict(type='AutoTokenizer', name_or_path='openai/clip-vit-base-patch16', use_fast=False),
    vocab_size=512 + len(MERGES) + 2,
    transformer_width=16,
    proj_dim=12,
    context_length=20,
)


def write_vocabulary(folder: Path) -> Path:
    """``merges.txt``."""
    path = folder / 'merges.txt'
    path.write_text('#version: 0.2\n' + '\n'.join(MERGES) + '\n', encoding='utf-8')
    return path
