# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What reading and drawing class maps costs beside the network's forward pass: ``python benchmarks/reading.py``.

The reading ``certain+spread`` of 200 class maps and 2048 channels beside one forward pass of a ResNet-50 that gives
maps of that size (14×14: 224 pixels at stride 16; 60×60: 480 pixels at stride 8), in turn, in one run; and
maps drawn in their place beside ``cv2.resize``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from measure import Row, interleaved, paired_ratio, save_rows

from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.reading import read_maps
from mmentropy.ops.mapping.scaling import draw_maps

#: Map's side, image's side, the stages that keep their stride, and the most that a reading may take of the forward.
CASES = (
    (14, 224, (False, False, True), '≤ 0.05'),
    (60, 480, (False, True, True), '≤ 0.30'),
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--classes', type=int, default=200)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--json', type=Path, help='also write the rows of docs/benchmarks.md there')
    return parser.parse_args()


def reading_row(classes: int, rounds: int, case: tuple) -> Row:
    """One reading beside one forward pass."""
    import torchvision

    side, pixels, dilated, target = case
    model = torchvision.models.resnet50(replace_stride_with_dilation=list(dilated)).eval()
    image, maps, entropy = (
        torch.randn(1, 3, pixels, pixels),
        torch.randn(1, classes, side, side),
        torch.rand(1, side, side),
    )
    features = torch.randn(1, 2048, side, side).relu()

    @torch.no_grad()
    def forward() -> object:
        return model(image)

    jobs: dict[str, Callable] = {
        'forward': forward,
        'reading': lambda: read_maps(maps, entropy, features, 'certain+spread'),
    }
    times = interleaved(jobs, rounds)
    ours, theirs = times['reading'], times['forward']
    return Row(
        f'certain+spread, {classes} maps of {side}×{side}',
        f'{1000 * ours.median:.1f} ms',
        f'ResNet-50 forward, {pixels} pixels',
        f'{1000 * theirs.median:.0f} ms',
        paired_ratio(ours.cpu, theirs.cpu),
        target=target,
    )


def drawing_row(rounds: int, maps: int = 50) -> Row:
    """Maps drawn in their place beside OpenCV's half-pixel resize."""
    small = torch.randn(maps, 14, 14).numpy()
    grid = MapGrid((0, 0), (16, 16), (224, 224))
    times = interleaved(
        {
            'ours': lambda: draw_maps(small, (224, 224), grid),
            'cv2.resize': lambda: [cv2.resize(one, (224, 224), interpolation=cv2.INTER_CUBIC) for one in small],
        },
        10 * rounds,
    )
    ours, theirs = times['ours'], times['cv2.resize']
    return Row(
        f'{maps} maps drawn in place, 14² to 224²',
        f'{1000 * ours.median:.2f} ms',
        'cv2.resize, cubic',
        f'{1000 * theirs.median:.2f} ms',
        paired_ratio(ours.cpu, theirs.cpu),
        target='≤ 2',
    )


def main() -> None:
    args = parse_args()
    torch.manual_seed(0)
    rows = [*(reading_row(args.classes, args.rounds, case) for case in CASES), drawing_row(args.rounds)]
    for row in rows:
        beside = f'{row.alternative} {row.alternative_value}'
        print(f'{row.what}: {row.ours}, {beside}, {row.figure:.3f} {row.target} {row.met}')
    save_rows(rows, args.json)


if __name__ == '__main__':
    main()
