# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Faithfulness of recipe.py's checkpoints: ``python benchmarks/recipe_faithfulness.py judge --work DIR``.

``judge`` asks the plain model and the recipe, three seeds each, about the maps of :data:`METHODS` on photographs; it
goes on where it was stopped, and ``--part 1/2`` shares it out. ``table`` prints the tables of
docs/results_faithfulness.md: means over the seeds ± their sample deviation, and what drawing in place changes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from mmengine.logging import MMLogger
from recipe import Normalize, Run, add_data_arguments, build_model, checkpoint, load_images, parse, run_in_bfloat16

from mmentropy.experiments.faithfulness_table import DIGITS, Judgement, Rows, Truth, heading, interval, summarize_rows
from mmentropy.explain import METHODS as KNOWN
from mmentropy.ops.faithfulness.figures import FIGURES

HALF = ':grid=half_pixel'
METHODS = (
    'random',
    'center',
    'cam',
    'cam' + HALF,
    'cam:reading=relu',
    'cam:reading=certain',
    'cam:reading=certain' + HALF.replace(':', ','),
    'cam:reading=certain+spread',
    'entropy',
    'entropy_cam',
    'grad_cam',
    'grad_cam' + HALF,
    'grad_cam++',
    'layer_cam',
    'hires_cam',
    'eigen_cam',
    'ablation_cam',
    'finer_cam',
    'refine_cam',
    'bag_cams',
    'input_gradient',
    'smooth_grad',
)
MODELS = {
    'plain (GAP)': 'set=photographs seed=0,1,2',
    'recipe': 'set=photographs seed=0,1,2 pooling=1 lambda=0.3 aux=0.5',
}
JUDGEMENT = Judgement(
    tuple(FIGURES),
    options=dict(
        steps=10,
        road_fractions=(0.2, 0.5, 0.8),
        sensitivity=dict(samples=2),
        randomization=dict(stages=2),
        batch_size=100,
    ),
)
BATCH = 25


def folder_of(run: Run, args: argparse.Namespace) -> Path:
    """Where the rows of a checkpoint lie."""
    return Path(args.work) / 'faithfulness' / run.name


def judge_run(run: Run, args: argparse.Namespace) -> None:
    """Judge what is missing of one checkpoint."""
    number, parts = (int(word) for word in args.part.split('/'))
    settings = dict(judgement=str(JUDGEMENT), images=args.images)
    rows = Rows(folder_of(run, args), settings, (number - 1, parts))
    state = torch.load(checkpoint(run, args), weights_only=True)
    model = build_model(run, state['num_classes']).eval()
    model.load_state_dict(state['state_dict'])
    run_in_bfloat16(model, False)  # in full precision, so that small changes of a map are its own
    data, normalize = load_images(run.set, run.fold, 'val', args), Normalize(run.set)
    size = (data.images.shape[2], data.images.shape[3])
    chosen = np.linspace(0, len(data.images) - 1, min(args.images, len(data.images))).astype(int)

    def batches():
        parts = -(-len(chosen) // BATCH)
        for part in (chosen[k::parts] for k in range(parts)):  # all classes in each
            truths = [Truth(str(i), int(data.labels[i]), size, data.boxes[i : i + 1]) for i in part]
            yield truths, lambda part=part: normalize(data.images[torch.from_numpy(part)])

    rows.judge([m for m in METHODS if m.partition(':')[0] in KNOWN], model, batches(), JUDGEMENT)
    print(run.name, flush=True)


def with_deviation(values: list[float], digits: int) -> str:
    """Mean ± sample deviation over the seeds."""
    text = f'{mean(values):.{digits}f}'
    return f'{text} ± {stdev(values):.{digits}f}' if len(values) > 1 else text


def tables(args: argparse.Namespace) -> str:
    """Markdown: methods × figures of each model, and what drawing in place changes."""
    lines = []
    for name, words in MODELS.items():
        runs = [run for run in parse(words) if folder_of(run, args).is_dir()]
        found = [on_common_images(Rows(folder_of(run, args)).read()) for run in runs]
        counts = sorted({len(rows) for one in found for rows in one.values()})
        summaries = [summarize_rows(rows, METHODS) for rows in found]
        lines += [f'### {name}, {len(runs)} seeds, {" to ".join(map(str, counts))} photographs each', '']
        lines += [
            '| method | ' + ' | '.join(heading(figure) for figure in FIGURES) + ' |',
            '|---' * (len(FIGURES) + 1) + '|',
        ]
        for method in METHODS:
            cells = []
            for figure in FIGURES:
                values = [table[method][figure].mean for table in summaries if figure in table[method]]
                cells.append(with_deviation(values, DIGITS.get(figure, 1)) if values else '')
            if any(cells):
                lines.append(f'| `{method}` | ' + ' | '.join(cells) + ' |')
        lines += ['', f'In place minus half-pixel, {name}, paired by image, all seeds:', '']
        lines += [
            '| method | ' + ' | '.join(heading(figure) for figure in FIGURES) + ' |',
            '|---' * (len(FIGURES) + 1) + '|',
        ]
        for method in METHODS:
            other = next((m for m in METHODS if m in (method + HALF, method + HALF.replace(':', ','))), None)
            if other is not None:
                cells = [paired(found, method, other, figure) for figure in FIGURES]
                lines.append(f'| `{method}` | ' + ' | '.join(cells) + ' |')
        lines.append('')
    return '\n'.join(lines)


def on_common_images(rows: dict[str, dict]) -> dict[str, dict]:
    """The images that every method has judged: a run may have been stopped."""
    common = set.intersection(*(set(images) for images in rows.values()))
    return {method: {name: row for name, row in images.items() if name in common} for method, images in rows.items()}


def paired(found: list[dict], method: str, other: str, figure: str) -> str:
    """Mean difference ± half of its 95 % interval over images and seeds; bold where that excludes zero."""
    differences = []
    for rows in found:
        for image, row in rows.get(method, {}).items():
            pair = row['values'][figure], rows.get(other, {}).get(image, {'values': {}})['values'].get(figure)
            if None not in pair:
                differences.append(FIGURES[figure].factor * (pair[0] - pair[1]))
    if len(differences) < 2:
        return ''
    one = interval(differences)
    text = f'{one.mean:+.{DIGITS.get(figure, 1)}f} ± {one.half:.{DIGITS.get(figure, 1)}f}'
    return f'**{text}**' if abs(one.mean) > one.half else text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('action', choices=('judge', 'table'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--images', type=int, default=50, help='photographs, evenly spread over the classes')
    parser.add_argument('--part', default='1/1', metavar='K/N', help='judge every N-th batch from the K-th on')
    add_data_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    MMLogger.get_current_instance().setLevel('WARNING')  # init_weights tells of every tensor
    if args.action == 'table':
        print(tables(args))
        return
    runs = [run for words in MODELS.values() for run in parse(words) if run.seed in args.seeds]
    for run in sorted(runs, key=lambda run: run.seed):  # both models of a seed, then the next
        judge_run(run, args)


if __name__ == '__main__':
    sys.exit(main())
