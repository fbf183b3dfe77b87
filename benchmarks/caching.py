# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a cache of frozen features saves: ``python benchmarks/caching.py``.

One training step of a linear head with entropy pooling on DINOv2-S (random weights, 224 pixels, 16×16 maps of 384
channels, 200 classes), its images read from memory; beside the same step on features that ``CachedFeatures`` reads from
disk in half precision. The page cache is warm in both. Then the bytes that an image takes on disk.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import Row, interleaved, paired_ratio, save_rows
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from mmentropy.datasets import CachedFeatures
from mmentropy.engine.feature_cache import CacheIdentity, FeatureCache
from mmentropy.registry import MODELS

SHAPE, CLASSES = (384, 16, 16), 200


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--json', type=Path, help='also write the rows of docs/benchmarks.md there')
    return parser.parse_args()


def build(backbone: dict) -> torch.nn.Module:
    """Entropy pooling and a linear head on a frozen backbone."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(
            dict(
                type='mmentropy.LocalizationClassifier',
                backbone=backbone,
                neck=dict(type='mmentropy.EntropyPooling'),
                head=dict(type='mmentropy.CAMHead'),
                data_preprocessor=dict(num_classes=CLASSES),
                freeze_backbone=True,
            )
        ).train()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    vit = dict(type='VisionTransformer', arch='dinov2-small', img_size=518, patch_size=14, out_type='featmap')
    whole, head = build(vit), build(dict(type='mmentropy.CachedTrunk', channels=SHAPE[0]))
    samples = [DataSample().set_gt_label(i % CLASSES) for i in range(args.batch)]
    images = torch.randn(args.batch, 3, 224, 224)
    with tempfile.TemporaryDirectory() as folder:
        identity = CacheIdentity('t', 'p', 'd', samples=args.batch, views=1, seed=0, shape=SHAPE)
        features = np.random.default_rng(0).normal(size=(args.batch, 1, *SHAPE)).astype(np.float32)
        fields = [[dict(gt_label=np.array([i % CLASSES]))] for i in range(args.batch)]
        FeatureCache.create(folder, identity).write(0, features, fields)
        cached = CachedFeatures(folder)
        size = sum(path.stat().st_size for path in Path(folder).glob('0*')) / args.batch

        def step(model: torch.nn.Module, inputs: torch.Tensor, told: list) -> None:
            model(inputs, told, mode='loss')['loss'].backward()

        def from_cache() -> None:
            batch = pseudo_collate([cached[i] for i in range(args.batch)])
            step(head, torch.stack(batch['inputs']), batch['data_samples'])

        jobs: dict[str, Callable] = {'trunk': lambda: step(whole, images, samples), 'cache': from_cache}
        times = interleaved(jobs, args.rounds)
    ours, theirs = times['cache'], times['trunk']
    rows = [
        Row(
            f'head on cached DINOv2-S, {args.batch} images',
            f'{1000 * ours.median:.0f} ms',
            'with the trunk',
            f'{1000 * theirs.median:.0f} ms',
            paired_ratio(theirs.cpu, ours.cpu),
            target='≥ 10',
        ),
        Row(
            'disk, one view of an image',
            f'{size / 1000:.0f} kB',
            'float32',
            f'{4 * np.prod(SHAPE) / 1000:.0f} kB',
            4 * float(np.prod(SHAPE)) / size,
            target='≥ 1.9',
        ),
    ]
    for row in rows:
        beside = f'{row.alternative} {row.alternative_value}'
        print(f'{row.what}: {row.ours}, {beside}, {row.figure:.1f} {row.target} {row.met}')
    save_rows(rows, args.json)


if __name__ == '__main__':
    main()
