# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Small networks whose maps can be computed by hand."""

from __future__ import annotations

import torch
from torch import nn


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


class Dense(nn.Module):
    def __init__(self, key: str | None = None) -> None:
        super().__init__()
        self.conv, self.key = nn.Conv2d(3, 4, 4, 4), key

    def forward(self, x):
        out = self.conv(x)
        return {'out': out} if self.key else out
