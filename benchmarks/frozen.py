# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Heads on a frozen trunk, for "Frozen trunks" in docs/results.md: ``python benchmarks/frozen.py QUEUE --work DIR``.

The trunk is recipe.py's narrow ResNet-18, pretrained on the photographs of a fold's other 30 classes
(``set=source epochs=6``; recipe.py makes it). Its features of the fold's 20 classes are computed once, in half
precision, several random crops and flips of each training image; a head is then a matter of seconds. The queue is a
text file with a head a line, ``key=value`` pairs as in recipe.py::

    seed=0,1,2                      # the GAP control
    seed=0,1,2 method=efw T=0.5     # entropy pooling
    seed=0,1,2 method=recipe        # entropy pooling, λ = 0.3, half of the loss on GAP
    seed=0,1,2 method=tri mu=1      # three regions

What is chosen is chosen on ``fold=select`` (classes 21 to 40); ``fold=report`` is what tables tell. Every head is
evaluated on the photographs and on 2×2 mosaics of them with :data:`READINGS`, by the figures of recipe_figures.py.
``--table SET`` prints a Markdown table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from statistics import mean

import numpy as np
import recipe
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from recipe_figures import figures_of, paired, with_deviation
from torch import Tensor, nn

from mmentropy.ops.localizing.threshold_rules import mean_share
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.reading import Reading, read_maps
from mmentropy.ops.mapping.scaling import draw_maps
from mmentropy.registry import MODELS
from mmentropy.safe_files import write_whole, written_whole

READINGS = {'protocol': Reading.named('protocol'), 'certain+spread': Reading.named('certain+spread')}
SETS = ('photographs', 'mosaics')
METHODS = ('gap', 'efw', 'recipe', 'tri')
#: Side of the maps that are cut into boxes: half of recipe_figures.py's, a quarter of the time.
EVAL_SIZE = (112, 112)
#: The threshold that a map chooses for itself.
RULES = {'mean': mean_share}
#: Random crops and flips of each training image.
VIEWS = 2


@dataclass(frozen=True)
class Head:
    """One head; the keys of a queue line.

    Attributes:
        method: ``gap``, ``efw`` (entropy pooling), ``recipe`` (it, with λ and aux) or ``tri`` (three regions).
        fold: ``report`` or ``select``.
        seed: of weights and order.
        trunk: seed of the trunk; -1 is that of the head.
        T, mapping, mix: of the pooling.
        lam, aux: of the recipe: λ of ``EntropyRegularizedLoss`` and the share of the loss on GAP features.
        mu, background, hidden, map: of the three regions.
        lr, epochs, batch: of the schedule: SGD with momentum, the rate falling by a cosine.
    """

    method: str = 'gap'
    fold: str = 'report'
    seed: int = 0
    trunk: int = -1
    T: float = 1.0
    mapping: str = 'exp'
    mix: float = 0.0
    lam: float = 0.3
    aux: float = 0.5
    mu: float = 1.0
    background: str = 'absent'
    hidden: int = 0
    map: str = 'object'
    lr: float = 0.03
    epochs: int = 20
    batch: int = 128

    @property
    def name(self) -> str:
        """Method, fold and whatever differs from the defaults."""
        parts = [self.method, self.fold, f'seed={self.seed}']
        for field in fields(self)[3:]:
            if getattr(self, field.name) != field.default:
                parts.append(f'{field.name}={getattr(self, field.name)}')
        return '-'.join(parts)

    @property
    def source(self) -> recipe.Run:
        """The run whose backbone is the trunk."""
        seed = self.seed if self.trunk < 0 else self.trunk
        return recipe.Run(set='source', fold=self.fold, seed=seed, epochs=6)


def parse(line: str) -> list[Head]:
    """The heads of a queue line; values with commas stand for one head each.

    Raises:
        ValueError: for an unknown key or method.
    """
    known = {field.name: field for field in fields(Head)}
    choices: dict[str, list] = {}
    for word in line.split('#')[0].split():
        key, _, values = word.partition('=')
        if key not in known:
            raise ValueError(f'{word!r}: a head has the keys {sorted(known)}, not {key!r}')
        choices[key] = [type(known[key].default)(value) for value in values.split(',')]
    heads = [Head(**dict(zip(choices, values))) for values in itertools.product(*choices.values())] if choices else []
    wrong = [head for head in heads if head.method not in METHODS or head.fold not in recipe.FOLDS]
    if wrong:
        raise ValueError(f'{line.strip()!r}: method is one of {METHODS}, fold of {list(recipe.FOLDS)}')
    return heads


def build_head(head: Head, channels: int, num_classes: int) -> nn.Module:
    """The package's own model on cached features."""
    neck: dict | None = dict(type='mmpretrain.GlobalAveragePooling')
    part: dict = dict(type='mmentropy.CAMHead')
    if head.method in ('efw', 'recipe'):
        neck = dict(type='mmentropy.EntropyPooling', mapping=head.mapping, temperature=head.T, mix=head.mix)
    if head.method == 'recipe':
        part.update(auxiliary_gap=head.aux, loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=head.lam))
    if head.method == 'tri':
        neck = None
        part = dict(
            type='mmentropy.TriRegionHead',
            background_weight=head.mu,
            background=head.background,
            hidden=head.hidden,
            map=head.map,
        )
    config = dict(
        type='mmentropy.LocalizationClassifier',
        backbone=dict(type='mmentropy.CachedTrunk', channels=channels),
        neck=neck,
        head=part,
        data_preprocessor=dict(num_classes=num_classes),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(config)
        model.init_weights()
    return model


def features_of(head: Head, split: str, args: argparse.Namespace) -> tuple[np.ndarray, recipe.Images]:
    """Features (V, N, D, h, w) float16 of a split, computed once; and its labels and boxes."""
    source = head.source
    data = recipe.load_images('photographs', head.fold, split, args)
    path = Path(args.features) / f'{source.name}-{split}-{args.limit or "all"}.npy'
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        state = torch.load(recipe.checkpoint(source, args), weights_only=True)
        model = recipe.build_model(source, state['num_classes']).eval()
        model.load_state_dict(state['state_dict'])
        recipe.run_in_bfloat16(model, True)
        normalize, views = recipe.Normalize('photographs'), []
        for view in range(VIEWS if split == 'train' else 1):
            images = augmented(data.images, view) if split == 'train' else data.images
            with torch.inference_mode():
                parts = [model.backbone(normalize(batch))[-1].half() for batch in images.split(100)]
            views.append(torch.cat(parts).numpy())
        with written_whole(path) as part, open(part, 'wb') as file:
            np.save(file, np.stack(views))
    return loaded(path), data


@lru_cache(maxsize=3)
def loaded(path: Path) -> np.ndarray:
    """An array in memory; heads on the same trunk follow one another."""
    return np.load(path)


def augmented(images: Tensor, view: int) -> Tensor:
    """recipe.py's augmentation, every image once, in order: its view chosen by the seed."""
    generator = torch.Generator().manual_seed(view)
    padded = nn.functional.pad(images, (4, 4, 4, 4))
    size = images.shape[-1]
    corners = torch.randint(0, 9, (len(images), 2), generator=generator).tolist()
    mirrored = (torch.rand(len(images), generator=generator) < 0.5).tolist()
    crops = [image[:, y : y + size, x : x + size] for image, (y, x) in zip(padded, corners)]
    return torch.stack([crop.flip(-1) if mirror else crop for crop, mirror in zip(crops, mirrored)])


def train(head: Head, args: argparse.Namespace) -> tuple[nn.Module, float]:
    """A trained head, and its processor seconds."""
    features, data = features_of(head, 'train', args)
    torch.manual_seed(head.seed)
    model = build_head(head, features.shape[2], int(data.labels.max()) + 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=head.lr, momentum=0.9, weight_decay=1e-4, nesterov=True)
    steps = -(-len(data.labels) // head.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, head.epochs * steps)
    generator = np.random.default_rng(head.seed)
    started = time.process_time()
    model.train()
    for _ in range(head.epochs):
        views, total = generator.integers(len(features), size=len(data.labels)), 0.0
        for index in np.array_split(generator.permutation(len(data.labels)), steps):
            batch = torch.from_numpy(features[views[index], index])
            samples = [DataSample(gt_label=label) for label in data.labels[index][:, None]]
            losses = model(batch, samples, mode='loss')
            loss = sum(value for key, value in losses.items() if 'loss' in key)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() / steps
        if not math.isfinite(total):
            raise ValueError(f'{head.name}: the loss is {total}')
    return model.eval(), time.process_time() - started


def evaluate(model: nn.Module, head: Head, set_: str, args: argparse.Namespace) -> dict:
    """Figures of every reading on one set, drawn in place."""
    features, data = features_of(head, 'mosaics' if set_ == 'mosaics' else 'val', args)
    parts = []
    with torch.inference_mode():
        for chunk, labels in zip(torch.from_numpy(features[0].astype(np.float32)).split(100), data.labels.split(100)):
            pooled = model.neck((chunk,)) if model.with_neck else (chunk,)
            maps = model.head.maps(chunk, labels[:, None])
            parts.append((model.head(pooled), maps[:, 0], model.head.entropy_map(chunk), chunk))
    logits, cams, entropies, chunks = (torch.cat(part) for part in zip(*parts))
    right = (logits.argmax(1) == data.labels).numpy()
    found: dict = {'top-1': round(100 * float(right.mean()), 3)}
    data.masks = None
    size = tuple(data.images.shape[-2:])
    grid = MapGrid((0, 0), tuple(whole / part for whole, part in zip(size, cams.shape[-2:])), size)
    for name, reading in READINGS.items():
        maps = read_maps(cams[:, None], entropies, chunks, reading)[:, 0]
        figures = figures_of(draw_maps(maps, EVAL_SIZE, grid).numpy(), right, data, RULES)
        figures.pop('curve')
        found[name] = figures
    return found


def work_on(head: Head, args: argparse.Namespace) -> None:
    """Train and evaluate a head, and write its figures."""
    model, seconds = train(head, args)
    found = {set_: evaluate(model, head, set_, args) for set_ in SETS}
    found |= dict(head=vars(head), seconds=round(seconds, 2))
    found['parameters'] = sum(p.numel() for p in model.parameters())
    path = figures_file(head, args)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(found))
    shown = {set_: (found[set_]['top-1'], *(found[set_][name]['V2'] for name in READINGS)) for set_ in SETS}
    print(f'{head.name}: {shown} after {seconds:.0f} s', flush=True)


def figures_file(head: Head, args: argparse.Namespace) -> Path:
    """Where the figures of a head lie."""
    return Path(args.features) / 'figures' / f'{head.name}.json'


def queued(queue: Path) -> list[Head]:
    """All heads of the queue, in order."""
    return [head for line in queue.read_text().splitlines() for head in parse(line)]


def label(head: Head) -> str:
    """A method in words, with whatever differs from its defaults."""
    words = {'gap': 'GAP', 'efw': 'entropy pooling', 'recipe': 'recipe', 'tri': 'three regions'}[head.method]
    plain = Head(method=head.method, fold=head.fold, seed=head.seed)
    others = [f'{k} = {v}' for k, v in vars(head).items() if v != getattr(plain, k)]
    return words + (f' ({", ".join(others)})' if others else '')


def table(args: argparse.Namespace) -> str:
    """A Markdown table of the queue's heads on ``--table``'s set, paired with the first of them by seed and trunk."""
    groups: dict[Head, list[Head]] = {}
    for head in queued(args.queue):
        if figures_file(head, args).exists() and head.fold == args.fold:
            key = Head(**{**vars(head), 'seed': -1, 'trunk': -1})
            groups.setdefault(key, []).append(head)
    known = {head: json.loads(figures_file(head, args).read_text()) for heads in groups.values() for head in heads}
    reference = {(head.seed, head.trunk): head for head in next(iter(groups.values()))}

    def values(heads: list[Head], reading: str, column: str) -> list[float | None]:
        rows = [known.get(head, {}).get(args.table) for head in heads]
        return [row and (row['top-1'] if column == 'top-1' else row[reading][column]) for row in rows]

    columns = ('top-1', 'V2', 'V2@mean')
    lines = ['| head | reading | ' + ' | '.join(columns) + ' | top-1, paired | V2, paired | seconds |']
    lines.append('|' + '---|' * (len(columns) + 5))
    for key, heads in groups.items():
        plain = [reference.get((head.seed, head.trunk), head) for head in heads]
        for reading in READINGS:
            cells = [with_deviation([v for v in values(heads, reading, c) if v is not None]) for c in columns]
            cells += [paired(values(heads, reading, c), values(plain, 'protocol', c)) for c in ('top-1', 'V2')]
            cells.append(f'{mean(known[head]["seconds"] for head in heads):.0f}')
            lines.append(f'| {label(key)} ({len(heads)}) | {reading} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('queue', type=Path, help='text file, a head a line')
    parser.add_argument('--features', default='work_dirs/frozen', help='features and figures')
    parser.add_argument('--table', choices=SETS, help='print a table of this set instead')
    parser.add_argument('--fold', default='report', help='of the table')
    recipe.add_data_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    MMLogger.get_current_instance().setLevel('WARNING')  # init_weights tells of every tensor
    if args.table:
        print(table(args))
        return
    while head := next((one for one in queued(args.queue) if not figures_file(one, args).exists()), None):
        work_on(head, args)


if __name__ == '__main__':
    main()
