# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The heavy parts of the seed pipeline beside what is usually used, in one run: ``python benchmarks/segmentation.py``.

Random walk against squaring a dense matrix, the dense CRF against pydensecrf2 (where it is installed), the threshold
curve against reading every map again, and multi-scale maps in batches against one image, scale and side at a time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import torch
from measure import Row, save_rows
from rich.console import Console
from rich.table import Table

from mmentropy.ops.refining.affinity import neighbor_offsets
from mmentropy.ops.refining.dense_crf import PSA_KERNELS, available_cores, dense_crf, unary_from_probability
from mmentropy.ops.refining.random_walk import random_walk, sparse_affinity, transition_matrix
from mmentropy.ops.seeding.seed_curve import dataset_curve

RNG = np.random.default_rng(0)


def best_seconds(function: Callable[[], object], repeats: int) -> tuple[float, object]:
    """Wall seconds, the best of some calls, and the last result."""
    times, result = [], None
    for _ in range(repeats):
        start = perf_counter()
        result = function()
        times.append(perf_counter() - start)
    return min(times), result


def walk(repeats: int, small: bool) -> list[dict]:
    """The walk at 60×80 nodes beside dense squaring, and at 94×125 nodes with its peak memory."""
    rows = []
    offsets = neighbor_offsets(5)
    for size in ((20, 30), (30, 40)) if small else ((60, 80), (94, 125)):
        # Affinities that follow regions, as a trained net's do.
        field = cv2.GaussianBlur(RNG.normal(size=size).astype(np.float32), (0, 0), 6)
        padded = np.pad(field, 8, mode='edge')
        pairs = np.stack(
            [np.exp(-40 * np.abs(field - padded[8 + y : 8 + y + size[0], 8 + x : 8 + x + size[1]])) for y, x in offsets]
        )
        maps = np.stack([cv2.GaussianBlur(RNG.random(size).astype(np.float32), (0, 0), 4) for _ in range(4)])

        def sparse(pairs=pairs, maps=maps):
            return random_walk(maps, transition_matrix(sparse_affinity(pairs, offsets), 8), 8)

        sparse()
        ours, found = best_seconds(sparse, repeats)
        tracemalloc.start()
        sparse()
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        row = {'what': f'random walk {size[0]}×{size[1]}', 'ours s': ours, 'peak MB': peak}
        if size[0] * size[1] < 6000:
            affinity = torch.from_numpy(sparse_affinity(pairs, offsets).toarray())

            def dense(affinity=affinity, maps=maps):
                powered = affinity**8
                transition = powered / powered.sum(dim=0)
                for _ in range(8):
                    transition = transition @ transition
                return torch.from_numpy(maps).reshape(len(maps), -1) @ transition

            theirs, want = best_seconds(dense, 1)
            agree = float((found.reshape(len(maps), -1).argmax(0) == want.numpy().argmax(0)).mean())
            row |= {'other': 'dense squaring', 'other s': theirs, 'agreement': agree}
        rows.append(row)
    return rows


def crf(repeats: int, small: bool) -> list[dict]:
    """Ten iterations at 375×500 with 2 and 21 labels."""
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError:
        DenseCRF2D = None
    rows = []
    height, width = (94, 125) if small else (375, 500)
    for labels in (2, 21):
        fields = [cv2.GaussianBlur(RNG.normal(size=(height, width)), (0, 0), 15) for _ in range(labels)]
        region = np.argmax(fields, axis=0)
        palette = RNG.integers(30, 226, (labels, 3))
        image = np.clip(palette[region] + RNG.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)
        logits = 1.5 * np.eye(labels)[region].transpose(2, 0, 1) + RNG.normal(0, 0.8, (labels, height, width))
        unary = unary_from_probability(np.exp(logits) / np.exp(logits).sum(0))

        def ours(unary=unary, image=image):
            return dense_crf(unary, image, PSA_KERNELS, 10)

        def usual(unary=unary, image=image, labels=labels):
            model = DenseCRF2D(width, height, labels)
            model.setUnaryEnergy(np.ascontiguousarray(unary.reshape(labels, -1)))
            model.addPairwiseGaussian(sxy=3, compat=3)
            model.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image, compat=10)
            return np.array(model.inference(10)).reshape(unary.shape)

        ours()
        seconds, found = best_seconds(ours, repeats)
        row = {'what': f'dense CRF {height}×{width}, {labels} labels', 'ours s': seconds}
        if DenseCRF2D is not None:
            other, want = best_seconds(usual, repeats)
            agree = float((found.argmax(0) == want.argmax(0)).mean())
            row |= {'other': 'pydensecrf2', 'other s': other, 'agreement': agree}
        else:
            row |= {'other': 'pydensecrf2 is not installed'}
        rows.append(row)
    return rows


def curve(repeats: int, small: bool) -> list[dict]:
    """100 thresholds over a folder of maps: once, and as the loop that reads every file for every threshold."""
    count, size, thresholds = (4, (50, 60), 20) if small else (20, (375, 500), 100)
    levels = np.arange(thresholds) / thresholds
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            labels = np.sort(RNG.permutation(20)[:2])
            maps = np.stack([cv2.GaussianBlur(RNG.random(size).astype(np.float32), (0, 0), 9) for _ in labels])
            target = (labels[maps.argmax(0)] + 1) * (maps.max(0) > 0.5)
            np.savez(
                Path(folder, f'{i}.npz'), maps=maps.astype(np.float16), labels=labels, target=target.astype(np.uint8)
            )

        def read():
            for i in range(count):
                with np.load(Path(folder, f'{i}.npz')) as stored:
                    yield stored['maps'].astype(np.float32), stored['labels'], stored['target']

        def loop():
            values = []
            for level in levels:
                total = np.zeros((21, 21), np.int64)
                for maps, labels, target in read():
                    stacked = np.concatenate([np.full((1, *target.shape), level, np.float32), maps])
                    called = np.append(0, labels + 1)[stacked.argmax(0)]
                    valid = target != 255
                    index = target[valid].astype(np.int64) * 21 + called[valid]
                    total += np.bincount(index, minlength=441).reshape(21, 21)
                hit = np.diag(total)
                union = total.sum(0) + total.sum(1) - hit
                values.append(np.mean(hit[union > 0] / union[union > 0]))
            return np.array(values)

        ours, found = best_seconds(lambda: dataset_curve(read(), levels, 21).miou, repeats)
        theirs, want = best_seconds(loop, 1)
    agree = float(np.isclose(found, want, atol=1e-3).mean())
    return [
        {
            'what': f'{thresholds} thresholds, {count} images',
            'ours s': ours,
            'other': 're-reading loop',
            'other s': theirs,
            'agreement': agree,
        }
    ]


def maps(repeats: int, small: bool) -> list[dict]:
    """Three scales and mirror images of a narrow ResNet-18: batches of 8 against one forward at a time."""
    from mmengine.registry import DefaultScope

    import mmentropy.models  # noqa: F401
    from mmentropy.registry import MODELS
    from mmentropy.segmentation.map_stages import multi_scale_maps

    backbone = dict(type='ResNet', depth=18, strides=(1, 2, 1, 1), base_channels=16, stem_channels=16)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='mmentropy.LocalizationClassifier',
                backbone=backbone,
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='mmentropy.CAMHead', num_classes=20, in_channels=128, multi_label=True),
            )
        ).eval()

    @torch.inference_mode()
    def forward(images: torch.Tensor, labels=None):
        features = model.extract_feat((images.float() - 127.5) / 63.75, stage='backbone')[-1]
        return model.head.maps(features).clamp(min=0), model.head.entropy_map(features), None  # drawn half-pixel

    count = 8 if small else 32
    images = [RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(count)]
    scales = (0.5, 1.0, 1.5)

    def batched():
        parts = [multi_scale_maps(forward, images[i : i + 8], scales, True, (16, 16))[0] for i in range(0, count, 8)]
        return torch.cat(parts)

    def single():
        results = []
        for image in images:
            total = 0.0
            for scale in scales:
                for mirrored in (False, True):
                    side = image[:, ::-1] if mirrored else image
                    size = round(64 * scale)
                    resized = cv2.resize(side, (size, size), interpolation=cv2.INTER_CUBIC)
                    cams, _, _ = forward(torch.from_numpy(np.ascontiguousarray(resized)).permute(2, 0, 1)[None])
                    cams = cams.flip(-1) if mirrored else cams
                    total = total + torch.nn.functional.interpolate(cams, size=(16, 16), mode='bilinear') / 2
            results.append(total)
        return torch.cat(results)

    batched()
    single()
    ours, found = best_seconds(batched, repeats)
    theirs, want = best_seconds(single, repeats)
    agree = float(torch.isclose(found, want, atol=1e-3 * float(want.abs().max())).float().mean())
    row = {'what': f'maps of {count} images, 3 scales, flips', 'ours s': ours, 'other': 'one forward at a time'}
    return [row | {'other s': theirs, 'agreement': agree}]


#: Start of a row's name → least factor over the alternative.
TARGETS = {'random walk': '≥ 20', 'dense CRF': '≥ 1.0', 'maps of': '≥ 2'}


def row_of(row: dict) -> Row:
    """A row of docs/benchmarks.md."""
    other = row.get('other s')
    notes = [f'agreement {100 * row["agreement"]:.2f} %'] if 'agreement' in row else []
    notes += [f'peak memory {row["peak MB"]:.0f} MB'] if 'peak MB' in row else []
    beside = row.get('other', ''), f'{other:.3f} s' if other else ''
    target = next((t for start, t in TARGETS.items() if row['what'].startswith(start)), '≥ 20')
    if row['what'].startswith('random walk') and not other:  # too large for the alternative
        return Row(row['what'], f'{row["ours s"]:.3f} s', *beside, row['ours s'], 's', '< 4', '; '.join(notes))
    return Row(row['what'], f'{row["ours s"]:.3f} s', *beside, row['ratio'], '×', target, '; '.join(notes))


PARTS = {'walk': walk, 'crf': crf, 'curve': curve, 'maps': maps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', help=f'any of {", ".join(PARTS)}; all by default')
    parser.add_argument('--repeats', type=int, default=3, help='calls, of which the best counts')
    parser.add_argument('--small', action='store_true', help='tiny sizes, to see that it runs')
    parser.add_argument('--out', type=Path, help='also write the rows as they are, as JSON')
    parser.add_argument('--json', type=Path, help='also write the rows of docs/benchmarks.md there')
    parser.add_argument('--threads', type=int, help='of torch; on a busy machine 1 tells more than all')
    args = parser.parse_args()
    torch.set_num_threads(args.threads or available_cores())
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f'unknown part {sorted(unknown)[0]!r}; known are {", ".join(PARTS)}')
    rows = [row for name in args.parts or PARTS for row in PARTS[name](args.repeats, args.small)]
    table = Table(
        'what', 'ours', 'beside', 'its time', 'ratio', 'agreement', 'peak memory', title=f'{available_cores()} cores'
    )
    for row in rows:
        other = row.get('other s')
        row['ratio'] = other / row['ours s'] if other else None
        table.add_row(
            row['what'],
            f'{row["ours s"]:.3f} s',
            row.get('other', ''),
            f'{other:.3f} s' if other else '',
            f'{row["ratio"]:.1f}×' if other else '',
            f'{100 * row["agreement"]:.2f} %' if 'agreement' in row else '',
            f'{row["peak MB"]:.0f} MB' if 'peak MB' in row else '',
        )
    Console().print(table)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))
    save_rows([row_of(row) for row in rows], args.json)


if __name__ == '__main__':
    main()
