# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Every map method on one photograph, those of transformers on a drawn image: docs/images/explainers.jpg.

``python docs/make_explainers.py``. The photograph is the cat Chelsea from scikit-image (CC0), the network the one of
``make_photographs.py``, which also says what to install. Attention methods need a transformer; the one here is written
by hand, not trained: its class token looks at patches that are red. The drawn image is ours.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from make_photographs import SIDE, network, photographs
from torch import Tensor, nn

from mmentropy.explain import METHODS, build_explainer
from mmentropy.ops.mapping.overlay import blend_map
from mmentropy.ops.mapping.scaling import draw_maps, normalize_map
from mmentropy.visualization.panels import add_caption, fit_image, join_tiles
from mmentropy.visualization.visualizer import write_image

PICTURE = Path(__file__).parent / 'images' / 'explainers.jpg'
ATTENTION = ('rollout', 'grad_attention', 'legrad')
TILE, COLUMNS = 170, 6


class Block(nn.Module):
    """Attention by how red a patch is, and a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.value.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        keys, values = 6 * tokens[:, None], self.value(tokens)[:, None]
        return tokens + nn.functional.scaled_dot_product_attention(torch.ones_like(keys), keys, values)[:, 0]


class Looker(nn.Module):
    """A transformer of two blocks whose class token reads the red patches."""

    def __init__(self, patch: int = 14) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 1, patch, patch, bias=False)
        red = torch.tensor([1.0, -0.5, -0.5]).view(1, 3, 1, 1)
        self.patches.weight.data = (red / patch**2).expand(1, 3, patch, patch).clone()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 1))
        self.blocks, self.head = nn.Sequential(Block(), Block()), nn.Linear(1, 2)
        self.head.weight.data = torch.tensor([[1.0], [-1.0]])

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), tokens], 1)
        return self.head(self.blocks(tokens)[:, 0])


def drawn() -> np.ndarray:
    """A red disc, a blue square and a green triangle, (SIDE, SIDE, 3) uint8 RGB."""
    image = np.full((SIDE, SIDE, 3), 235, np.uint8)
    cv2.rectangle(image, (20, 120), (90, 190), (60, 90, 220), -1)
    cv2.fillPoly(image, [np.array([[120, 200], [200, 200], [160, 130]])], (70, 180, 90))
    cv2.circle(image, (140, 70), 40, (220, 50, 50), -1)
    return image


def tile(image: np.ndarray, cam: np.ndarray, name: str) -> np.ndarray:
    """The map over the image; the brightest percent, of pixel maps a few points, does not decide its range."""
    cam = normalize_map(np.minimum(cam, np.percentile(cam, 99)), 'minmax')
    return add_caption(blend_map(fit_image(image, TILE), cv2.resize(cam, (TILE, TILE))), name)


def explained(model: nn.Module, image: np.ndarray, inputs: Tensor, methods: list[str]) -> list[np.ndarray]:
    """The image, and a tile for each method, of the best class."""
    tiles = [add_caption(fit_image(image, TILE), 'image')]
    best = int(model(inputs).argmax())
    for name in methods:
        found = build_explainer(name, model)(inputs, best)
        tiles.append(tile(image, draw_maps(found.maps[0], (SIDE, SIDE), found.grid)[0].numpy(), name))
        print(name, flush=True)
    return tiles


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--methods', nargs='+', choices=list(METHODS), default=list(METHODS), help='default: all')
    parser.add_argument('--out', default=str(PICTURE), help=f'default: {PICTURE.name} beside the other images')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    _, cat = next(photographs())
    small = cv2.resize(cat, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    inputs = torch.from_numpy((small.astype(np.float32) - 127) / 128).permute(2, 0, 1)[None]
    shapes = drawn()
    red = torch.from_numpy(shapes.astype(np.float32) / 255).permute(2, 0, 1)[None]
    tiles = explained(network(), small, inputs, [name for name in args.methods if name not in ATTENTION])
    tiles += explained(Looker().eval(), shapes, red, [name for name in args.methods if name in ATTENTION])
    lines = [join_tiles(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(one, ((0, 0), (0, width - one.shape[1]), (0, 0)), constant_values=255) for one in lines]
    write_image(args.out, join_tiles(lines, axis=0))
    print(args.out)


if __name__ == '__main__':
    main()
