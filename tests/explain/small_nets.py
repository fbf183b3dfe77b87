# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Small networks whose maps can be computed by hand."""

from __future__ import annotations

import torch
from torch import nn

from mmentropy.explain import METHODS
from mmentropy.explain.attention import AttentionExplainer
from mmentropy.registry import EXPLAINERS

KINDS = {name: EXPLAINERS.get(kind) for name, kind in METHODS.items()}
#: Methods that read attention: of a transformer only.
VIT_METHODS = [name for name, kind in KINDS.items() if issubclass(kind, AttentionExplainer)]
#: Methods with a map a class.
BY_CLASS = [name for name, kind in KINDS.items() if not kind.class_agnostic and name not in VIT_METHODS]
#: Methods whose maps tell where the network looks.
PLACED = [name for name, kind in KINDS.items() if kind.has_place]


class Net(nn.Module):
    """Two convolutions, global average pooling, and a linear layer or two."""

    def __init__(self, hidden: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3, 2, 1)
        )
        self.act = nn.ReLU(inplace=True)
        self.hidden = nn.Sequential(nn.Linear(8, 7), nn.Tanh()) if hidden else nn.Identity()
        self.fc = nn.Linear(7 if hidden else 8, 5)

    def forward(self, x):
        return self.fc(self.hidden(self.act(self.body(x)).mean((2, 3))))


def make(hidden: bool = False) -> Net:
    torch.manual_seed(0)
    return Net(hidden).eval()


class Block(nn.Module):
    """Attention and a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, tokens):
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(tokens).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return tokens + self.out(mixed.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """Patches of 8 pixels, three blocks, a class token or the mean over the patches."""

    def __init__(self, class_token: bool, width: int = 8, heads: int = 2, blocks: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width)) if class_token else None
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, 5)

    def embed(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return tokens if self.cls_token is None else torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)

    def score(self, tokens):
        tokens = self.norm(tokens)
        return self.fc(tokens.mean(1) if self.cls_token is None else tokens[:, 0])

    def forward(self, x):
        tokens = self.embed(x)
        for block in self.blocks:
            tokens = block(tokens)
        return self.score(tokens)


class Dense(nn.Module):
    def __init__(self, key: str | None = None) -> None:
        super().__init__()
        self.conv, self.key = nn.Conv2d(3, 4, 4, 4), key

    def forward(self, x):
        out = self.conv(x)
        return {'out': out} if self.key else out
