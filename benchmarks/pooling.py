# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Entropy pooling against other poolings on small photographs: ``python benchmarks/pooling.py --work DIR``.

A check in the manner of CIFAR that a CPU can do: 20 classes of Tiny ImageNet at 64 pixels, a narrow ResNet-18 from
scratch, the schedule of ``configs/wsol/resnet18_tinyimagenet.py``, the loop of ``recipe.py``; only the pooling (and,
where it changes their number, the classifier's inputs) differs. Top-1 on the validation images after the last epoch.
Every finished run is a line of ``DIR/pooling.jsonl`` and is not done again; ``--table`` prints what is there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import recipe
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import nn

from mmentropy.experiments.tables import Measured
from mmentropy.registry import MODELS

#: Channels of the last map of the narrow network.
WIDTH = 128
LINEAR = dict(type='LinearClsHead', in_channels=WIDTH)
#: name → what of the model differs from plain CAM's.
METHODS: dict[str, dict] = {
    'gap': {},
    'efw': dict(neck=dict(type='mmentropy.EntropyPooling')),
    'gmp': dict(neck=dict(type='mmentropy.GlobalMaxPooling')),
    'gem': dict(neck=dict(type='GeneralizedMeanPooling')),
    'sop': dict(
        neck=dict(type='mmentropy.SecondOrderPooling', in_channels=WIDTH, channels=32),
        head=LINEAR | dict(in_channels=32 * 33 // 2),
    ),
    'dft': dict(
        neck=dict(type='mmentropy.FrequencyPooling', in_channels=WIDTH), head=LINEAR | dict(in_channels=5 * WIDTH)
    ),
}


def build_model(method: str, num_classes: int) -> nn.Module:
    """The demo's narrow classifier with this pooling, its weights initialised."""
    model = Config.fromfile(recipe.CONFIGS['partshapes']).model.to_dict()
    model.update(METHODS[method], data_preprocessor=dict(num_classes=num_classes))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        network = MODELS.build(model)
        network.init_weights()
    return network.to(memory_format=torch.channels_last)


def train_and_test(method: str, seed: int, args: argparse.Namespace) -> dict:
    """One run: its losses by epoch, top-1 in per cent, seconds of the processor."""
    run = recipe.Run(set='photographs', seed=seed, epochs=args.epochs)
    data = recipe.load_images(run.set, run.fold, 'train', args)
    torch.manual_seed(seed)
    model, normalize = build_model(method, int(data.labels.max()) + 1), recipe.Normalize(run.set)
    settings = dict(Config.fromfile(recipe.CONFIGS['partshapes']).optim_wrapper.optimizer, lr=run.lr)
    optimizer = getattr(torch.optim, settings.pop('type'))(model.parameters(), **settings)
    steps = -(-len(data.images) // run.batch)
    schedule = recipe.schedulers(run, optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    recipe.run_in_bfloat16(model, True)
    started, losses = time.process_time(), []
    for _ in range(run.epochs):
        model.train()
        total = 0.0
        for images, labels in recipe.augmented_batches(data, run, generator):
            samples = [DataSample().set_gt_label(label) for label in labels]
            loss = model(normalize(images), samples, mode='loss')['loss']
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            for scheduler in schedule:
                scheduler.step()
            total += loss.item() / steps
        losses.append(round(total, 4))
    seconds = round(time.process_time() - started, 1)
    return dict(
        method=method, seed=seed, epochs=run.epochs, losses=losses, top1=top1(model, run, args), seconds=seconds
    )


@torch.no_grad()
def top1(model: nn.Module, run: recipe.Run, args: argparse.Namespace) -> float:
    """Per cent of the validation images whose best score is their class's."""
    data, normalize = recipe.load_images(run.set, run.fold, 'val', args), recipe.Normalize(run.set)
    model.eval()
    right = 0
    for images, labels in zip(data.images.split(100), data.labels.split(100)):
        scores = model.head(model.neck(model.backbone(normalize(images))))
        right += int((scores.argmax(1) == labels).sum())
    return 100 * right / len(data.labels)


def finished(args: argparse.Namespace) -> list[dict]:
    """The runs that are done."""
    path = Path(args.work) / 'pooling.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(args: argparse.Namespace) -> str:
    """Mean and spread of top-1 by pooling."""
    lines = ['| pooling | runs | top-1 | seconds a run |', '|---|--:|--:|--:|']
    for method in args.methods:
        rows = [row for row in finished(args) if row['method'] == method and row['epochs'] == args.epochs]
        if rows:
            accuracy, seconds = (Measured.of([row[key] for row in rows]) for key in ('top1', 'seconds'))
            lines.append(f'| {method} | {len(rows)} | {accuracy.text()} | {seconds.mean:.0f} |')
    return '\n'.join(lines)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    recipe.add_data_arguments(parser)
    parser.set_defaults(work='work_dirs/pooling')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--table', action='store_true', help='print what is finished, run nothing')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    MMLogger.get_current_instance().setLevel('WARNING')  # init_weights tells of every tensor
    for seed in [] if args.table else args.seeds:
        for method in args.methods:
            done = {(row['method'], row['seed'], row['epochs']) for row in finished(args)}
            if (method, seed, args.epochs) not in done:
                row = train_and_test(method, seed, args)
                with open(Path(args.work) / 'pooling.jsonl', 'a') as file:
                    file.write(json.dumps(row) + '\n')
    print(table(args))


if __name__ == '__main__':
    main()
