# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Figures of recipe.py's checkpoints: ``python benchmarks/recipe_figures.py evaluate QUEUE --work DIR``.

``evaluate`` reads every checkpoint of the queue's runs on the sets of its fold, with every reading of
:data:`READINGS`, and writes one JSON file a checkpoint and set; what is there is not done again. ``table`` prints
means, sample deviations and paired differences of them, and ``picture`` draws the first validation images.

The metrics are those of the package, on maps at 224 pixels: V2 is the mean over IoU 30, 50 and 70 % of the share of
images whose best box reaches it, at the best threshold of the set (``V2``), at fixed ones (``V2@0.2``) and at a
threshold that each map chooses for itself (``V2@auto``).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from recipe import (
    Images,
    Normalize,
    Run,
    add_data_arguments,
    build_model,
    checkpoint,
    load_images,
    queued,
    run_in_bfloat16,
)
from scipy.stats import t as student
from torch import Tensor, nn

from mmentropy.explain.grids import MEASURED_IMAGES, LayerGrid
from mmentropy.ops.localizing.boxes import scale_boxes
from mmentropy.ops.localizing.component_tree import best_iou_by_level
from mmentropy.ops.localizing.pixel_metrics import average_precision, histogram_edges, resize_mask, score_histogram
from mmentropy.ops.localizing.protocol import hits, quantize_map, threshold_levels, thresholds_of
from mmentropy.ops.localizing.threshold_rules import mean_share, otsu, threshold_rule
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.reading import Reading, read_maps
from mmentropy.ops.mapping.scaling import draw_maps, normalize_map
from mmentropy.ops.mapping.views import view_size
from mmentropy.safe_files import write_whole
from mmentropy.visualization import ComparisonRow, draw_comparison_grid
from mmentropy.visualization.visualizer import write_image

EVAL_SIZE = (224, 224)
IOU_THRS = (30, 50, 70)
THRESHOLDS = thresholds_of(0.001)
#: Every tenth threshold's V2 is kept, for thresholds that are chosen on another set.
KEPT = slice(None, None, 10)
FIXED = (0.15, 0.2, 0.3)
#: Thresholds that each map chooses for itself.
RULES: dict[str, Callable[[np.ndarray], float]] = {
    'auto': threshold_rule('auto'),
    'mean': mean_share,
    'otsu': otsu,
}


class Look(NamedTuple):
    """How maps are read, where they are drawn (``mmentropy.explain.grids.GRIDS``), and the image's sizes, as factors.

    Several sizes are read one by one and averaged over the image, as by an explainer with ``scales``.
    """

    reading: Reading
    grid: str
    scales: tuple[float, ...] = (1.0,)


#: Name → how maps come about.
READINGS: dict[str, Look] = {
    'protocol': Look(Reading.named('protocol'), 'half_pixel'),
    'in place': Look(Reading.named('protocol'), 'followed'),
    'measured': Look(Reading.named('protocol'), 'measured'),
    'relu': Look(Reading(relu=True), 'followed'),
    'certain': Look(Reading.named('certain'), 'followed'),
    'relu+spread': Look(Reading(relu=True, spread=1, power=2), 'followed'),
    'certain+spread': Look(Reading.named('certain+spread'), 'followed'),
    'certain+spread, half-pixel': Look(Reading.named('certain+spread'), 'half_pixel'),
    'certain+spread, measured': Look(Reading.named('certain+spread'), 'measured'),
    'protocol, two sizes': Look(Reading.named('protocol'), 'followed', (1.0, 2.0)),
    'certain+spread, two sizes': Look(Reading.named('certain+spread'), 'followed', (1.0, 2.0)),
}


def trained(run: Run, args: argparse.Namespace) -> nn.Module:
    """The finished run's model, for evaluation."""
    state = torch.load(checkpoint(run, args), weights_only=True)
    model = build_model(run, state['num_classes']).eval()
    model.load_state_dict(state['state_dict'])
    return model


Predictions = tuple[Tensor, Tensor, Tensor, Tensor]


def predictions(run: Run, data: Images, args: argparse.Namespace, scale: float = 1.0) -> Predictions:
    """Logits (N, C), class maps of the true class (N, h, w), location entropy (N, h, w) and features (N, D, h, w)."""
    model = trained(run, args)
    run_in_bfloat16(model, bool(run.bfloat16))
    normalize, parts = Normalize(run.set), []
    with torch.inference_mode():
        for images, labels in zip(data.images.split(100), data.labels.split(100)):
            features = model.extract_feat(resized(normalize(images), scale), stage='backbone')
            logits = model.head(model.neck(features))
            cams = model.head.maps(features[-1], labels[:, None])[:, 0]
            parts.append((logits, cams, model.head.entropy_map(features[-1]), features[-1]))
    return tuple(torch.cat(part) for part in zip(*parts))


def resized(images: Tensor, scale: float) -> Tensor:
    """(N, 3, H, W) by a factor."""
    return images if scale == 1 else F.interpolate(images, scale_factor=scale, mode='bilinear')


def grid_of(kind: str, run: Run, data: Images, args: argparse.Namespace, scale: float = 1.0) -> MapGrid | None:
    """Where the maps of these images are drawn; what is measured goes by the first of them, in float32."""
    images = resized(Normalize(run.set)(data.images[:MEASURED_IMAGES]), scale)
    return LayerGrid(kind)(trained(run, args), 'backbone', images)


Views = list[tuple[Tensor, MapGrid | None]]


def views_of_class(
    look: Look, seen: dict[float, Predictions], run: Run, data: Images, args: argparse.Namespace
) -> Views:
    """Of every size: maps of the true class (N, h, w), read, and where they lie in the view."""
    views = []
    for scale in look.scales:
        _, cams, entropies, features = seen[scale]
        maps = read_maps(cams[:, None], entropies, features, reading=look.reading)[:, 0]
        views.append((maps, grid_of(look.grid, run, data, args, scale)))
    return views


def drawn_over(views: Views, image: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The views' mean over images of (height, width), (N, *size)."""
    if len(views) == 1:
        return draw_maps(views[0][0], size, views[0][1])
    small = view_size(image)
    mean_of_views = torch.stack([draw_maps(maps, small, grid, 'cubic') for maps, grid in views]).mean(0)
    return draw_maps(mean_of_views, size, MapGrid.half_pixel(small, image))


def figures_of(
    drawn: np.ndarray, right: np.ndarray, data: Images, rules: dict[str, Callable[[np.ndarray], float]] = RULES
) -> dict[str, float | list[float]]:
    """What one reading is worth: drawn maps (N, H, W), whether the class is right (N,)."""
    size, eval_size = tuple(data.images.shape[-2:]), drawn.shape[-2:]
    curve = np.zeros((len(THRESHOLDS), len(IOU_THRS)))
    top1 = np.zeros(len(THRESHOLDS))
    chosen = {name: np.zeros(len(IOU_THRS)) for name in rules}
    edges = histogram_edges()[0]
    histogram = np.zeros((2, len(edges) - 1), np.int64)
    for i, cam in enumerate(drawn):
        cam = normalize_map(cam)
        image = quantize_map(cam)
        iou = best_iou_by_level(image, scale_boxes(data.boxes[i : i + 1], size, eval_size))
        found = hits(iou[threshold_levels(THRESHOLDS, image.max())], IOU_THRS)
        curve += found
        top1 += found[:, IOU_THRS.index(50)] & right[i]
        levels = threshold_levels(np.array([rule(cam) for rule in rules.values()]), image.max())
        for name, hit in zip(rules, hits(iou[levels], IOU_THRS)):
            chosen[name] += hit
        if data.masks is not None:
            mask = torch.from_numpy(resize_mask(data.masks[i], eval_size))
            scores = torch.from_numpy(cam)
            histogram += score_histogram(scores, mask, None, torch.from_numpy(edges)).numpy()
    share = 100 / len(drawn)
    v2 = curve.max(0).mean() * share
    by_threshold = curve.mean(1) * share
    figures = {'V2': v2, 'GT-known': curve[:, 1].max() * share, 'Top-1 Loc': top1.max() * share}
    figures |= {f'V2@{t:g}': by_threshold[np.flatnonzero(np.isclose(THRESHOLDS, t))[0]] for t in FIXED}
    figures |= {f'V2@{name}': hit.mean() * share for name, hit in chosen.items()}
    if data.masks is not None:
        figures['PxAP'] = average_precision(histogram)
    figures = {key: round(float(value), 3) for key, value in figures.items()}
    return figures | {'curve': by_threshold[KEPT].round(2).tolist()}


def evaluate(run: Run, set_: str, args: argparse.Namespace) -> None:
    """Write the figures of one checkpoint on ``photographs``, ``mosaics`` or ``partshapes``."""
    path = figures_file(run, set_, args)
    found = json.loads(path.read_text()) if path.exists() else {}
    missing = [name for name in args.readings or READINGS if name not in found]
    if not missing:
        return
    data = load_images(run.set, run.fold, 'mosaics' if set_ == 'mosaics' else 'val', args)
    scales = {1.0}.union(*(READINGS[name].scales for name in missing))
    seen = {scale: predictions(run, data, args, scale) for scale in scales}
    right = (seen[1.0][0].argmax(1) == data.labels).numpy()
    found['top-1'] = round(100 * right.mean(), 3)
    image = (data.images.shape[2], data.images.shape[3])
    if run.fold != 'report':  # PxAP takes as long as all the rest, and nothing is chosen by it
        data.masks = None
    for name in missing:
        views = views_of_class(READINGS[name], seen, run, data, args)
        found[name] = figures_of(drawn_over(views, image, EVAL_SIZE).numpy(), right, data)
        if READINGS[name].grid == 'measured':
            found[name]['start'] = [round(start, 2) for start in views[0][1].start]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(found))
    shown = {name: found[name]['V2'] for name in READINGS if name in found}
    print(f'{run.name} on {set_}: top-1 {found["top-1"]}, V2 {shown}', flush=True)


def figures_file(run: Run, set_: str, args: argparse.Namespace) -> Path:
    """Where the figures of a run on a set lie."""
    return Path(args.work) / 'figures' / f'{run.name}.{set_}.json'


def sets_of(run: Run) -> tuple[str, ...]:
    """What a run is evaluated on."""
    return {'partshapes': ('partshapes',), 'photographs': ('photographs', 'mosaics')}.get(run.set, ())


COLUMNS = ('top-1', 'V2', 'PxAP', 'Top-1 Loc', 'V2@0.2', 'V2@auto')


def value(run: Run, set_: str, reading: str, column: str, args: argparse.Namespace) -> float | None:
    """One figure of one checkpoint; None where it does not exist (PxAP without masks), or not yet."""
    path = figures_file(run, set_, args)
    found = json.loads(path.read_text()) if path.exists() else {}
    return found.get('top-1') if column == 'top-1' else found.get(reading, {}).get(column)


def with_deviation(values: list[float]) -> str:
    """Mean ± sample deviation."""
    if not values:
        return ''
    return f'{mean(values):.1f}' + (f' ± {stdev(values):.1f}' if len(values) > 1 else '')


def paired(ours: list[float | None], theirs: list[float | None]) -> str:
    """Mean difference within a seed ± half of its 95 % interval (Student), bold where that excludes zero."""
    differences = [a - b for a, b in zip(ours, theirs) if a is not None and b is not None]
    if not differences:
        return ''
    if len(differences) == 1:
        return f'{differences[0]:+.1f}'
    half = student.ppf(0.975, len(differences) - 1) * stdev(differences) / math.sqrt(len(differences))
    text = f'{mean(differences):+.1f} ± {half:.1f}'
    return f'**{text}**' if abs(mean(differences)) > half else text


#: What ``configs/demo/resnet18_partshapes_ent.py`` trains.
RECIPE = dict(pooling=1, temperature=0.25, aux=0.75, lambda_=0.3)


def label(run: Run) -> str:
    """A method in words; in brackets whatever else differs from the defaults of its kind."""
    known = dict(pooling=0, aux=0.0, lambda_=0.0)
    if all(getattr(run, key) == value for key, value in RECIPE.items()):
        words, known = ['recipe'], RECIPE
    else:
        words = ['entropy pooling' if run.pooling else 'GAP']
        words += [f'{run.aux:g} of the loss on GAP'] * bool(run.aux) + [f'λ = {run.lambda_:g}'] * bool(run.lambda_)
    schedule = dict(epochs=6) if run.init == 'pretrained' else {}
    plain = Run(set=run.set, fold=run.fold, seed=run.seed, init=run.init, **schedule)
    others = [f'{k} = {v}' for k, v in vars(run).items() if k not in known and v != getattr(plain, k)]
    return ', '.join(words) + (f' [{", ".join(others)}]' if others else '')


def table(args: argparse.Namespace) -> str:
    """A Markdown table of the queue's runs on one set, compared with the first of them as the protocol reads it."""
    groups: dict[Run, list[Run]] = {}
    for run in queued(args.queue):
        if args.set in sets_of(run) and (run.fold, run.init) == (args.fold, args.init):
            groups.setdefault(Run(**{**vars(run), 'seed': -1}), []).append(run)
    if not groups:
        raise ValueError(f'{args.queue} has no run of fold {args.fold!r} that is evaluated on {args.set!r}')
    columns = [c for c in COLUMNS if c != 'PxAP' or args.set == 'partshapes']
    header = ['model', 'reading', *columns, 'top-1, paired', 'V2, paired', 'V2, same reading']
    lines = ['| ' + ' | '.join(header) + ' |', '|' + '---|' * len(header)]
    reference = {run.seed: run for run in next(iter(groups.values()))}
    for key, runs in groups.items():
        for reading in args.readings or READINGS:
            found = {c: [value(run, args.set, reading, c, args) for run in runs] for c in columns}
            plain = [reference.get(run.seed, run) for run in runs]
            usual = {c: [value(run, args.set, 'protocol', c, args) for run in plain] for c in ('top-1', 'V2')}
            same = [value(run, args.set, reading, 'V2', args) for run in plain]
            cells = [with_deviation([v for v in found[c] if v is not None]) for c in columns]
            cells += [paired(found[c], usual[c]) for c in ('top-1', 'V2')] + [paired(found['V2'], same)]
            if not any(v is not None for v in found['V2']):
                continue
            seeds = sum(v is not None for v in found['V2'])
            lines.append('| ' + ' | '.join([f'{label(key)} ({seeds})', reading, *cells]) + ' |')
    return '\n'.join(lines)


def picture(args: argparse.Namespace) -> np.ndarray:
    """One validation image a row, one run of the queue a column: the package's reading, truth, box, IoU."""
    runs = [run for run in queued(args.queue) if (run.set, run.fold, run.seed) == (args.set, args.fold, 0)]
    runs = [run for run in runs if checkpoint(run, args).exists()]
    if not runs:
        raise ValueError(f'{args.queue} has no finished run of seed 0 of {args.set!r}, fold {args.fold!r}')
    data = load_images(args.set, args.fold, 'val', args)
    data = Images(data.images[: args.rows], data.labels[: args.rows], data.boxes[: args.rows])
    images = data.images.permute(0, 2, 3, 1).numpy()
    rows = [ComparisonRow(image, {}, box[None]) for image, box in zip(images, data.boxes)]
    size = (data.images.shape[2], data.images.shape[3])
    for run in runs:
        seen = {1.0: predictions(run, data, args)}
        chances = seen[1.0][0].softmax(1)[torch.arange(len(data.labels)), data.labels]
        maps = drawn_over(views_of_class(READINGS['certain+spread'], seen, run, data, args), size, size).numpy()
        for row, drawn, chance in zip(rows, maps, chances.tolist()):
            row.maps[label(run)], row.captions[label(run)] = drawn, f'{chance:.2f}'
    cuts = {label(run): figures_file(run, args.set, args) for run in runs}
    for name, path in cuts.items():
        curve = json.loads(path.read_text())['certain+spread']['curve']
        cuts[name] = float(THRESHOLDS[KEPT][int(np.argmax(curve))])
    return draw_comparison_grid(rows, tile=150, threshold=cuts, marks=True)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('action', choices=('evaluate', 'table', 'picture'))
    parser.add_argument('queue', type=Path, help='as for recipe.py')
    parser.add_argument(
        '--set', default='partshapes', choices=('partshapes', 'photographs', 'mosaics'), help='of the table'
    )
    parser.add_argument('--fold', default='report', help='of the table')
    parser.add_argument('--init', default='scratch', choices=('scratch', 'pretrained'), help='of the table')
    parser.add_argument('--readings', nargs='+', choices=list(READINGS), help='all by default')
    parser.add_argument('--rows', type=int, default=8, help='images of the picture')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/recipe.jpg'), help='the picture')
    add_data_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    MMLogger.get_current_instance().setLevel('WARNING')  # init_weights tells of every tensor
    if args.action == 'table':
        print(table(args))
        return
    if args.action == 'picture':
        write_image(args.out, picture(args))
        print(args.out)
        return
    for run in queued(args.queue):
        if checkpoint(run, args).exists():
            for set_ in sets_of(run):
                evaluate(run, set_, args)


if __name__ == '__main__':
    sys.exit(main())
