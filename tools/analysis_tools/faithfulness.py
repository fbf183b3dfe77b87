# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Which map is faithful to the model? Methods × figures on a data set, no boxes needed, in one table and picture.

``python tools/analysis_tools/faithfulness.py CONFIG --weights CKPT --methods cam entropy_cam grad_cam --out DIR``
writes DIR/table.md, table.csv and table.png. Options of a method stand behind a colon: ``cam:grid=half_pixel``,
``cam:reading=certain+spread``. Started again it goes on where it was stopped, and judges methods that were added.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from mmentropy.command_line import add_config_options, add_weights_arguments, one_sentence_errors, positive_int

USUAL = ('average_drop', 'increase', 'deletion', 'insertion', 'road', 'adcc')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the network and the data')
    add_weights_arguments(parser)
    parser.add_argument('--methods', nargs='+', default=['cam', 'entropy_cam', 'grad_cam'], help='name[:key=value,…]')
    parser.add_argument('--metrics', nargs='+', default=list(USUAL), help='see docs/evaluation.md; all takes all')
    parser.add_argument('--target', choices=['predicted', 'label'], default='predicted', help='the class judged')
    parser.add_argument('--split', default='test', help='train, val or test')
    parser.add_argument('--max-images', type=positive_int, help='evenly spread over the split')
    parser.add_argument('--steps', type=positive_int, default=20, help='of deletion and insertion')
    parser.add_argument('--batch-size', type=positive_int, default=16, help='images, as one batch')
    parser.add_argument('--jobs', type=positive_int, default=1, help='processes')
    parser.add_argument('--part', default='1/1', metavar='K/N', help='judge the K-th of N parts, on N machines, say')
    parser.add_argument('--out', default='work_dirs/faithfulness', metavar='DIR', help='folder of rows and table')
    add_config_options(parser)
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    if args.jobs > 1:
        share_out(args.jobs)
        args.part = '1/1'  # whatever is left, and the table
    import torch

    from mmentropy.engine import load_config, progress_bar
    from mmentropy.engine.model_loading import load_model
    from mmentropy.experiments.analysis import open_datasets, photos
    from mmentropy.experiments.faithfulness_table import (
        Judgement,
        Rows,
        parse_method,
        photo_batches,
        summarize_rows,
        summary_markdown,
        write_summary,
    )
    from mmentropy.ops.faithfulness.figures import FIGURES, check_figures

    for method in args.methods:
        parse_method(method)
    metrics = check_figures(list(FIGURES) if args.metrics == ['all'] else args.metrics)
    options = dict(steps=args.steps)
    judgement = Judgement(metrics, args.target, options=options)
    part = part_of(args.part)
    kept = ('config', 'weights', 'target', 'split', 'max_images', 'steps', 'cfg_options')
    rows = Rows(args.out, {key: getattr(args, key) for key in kept} | {'metrics': metrics}, part)
    cfg = load_config(args.config, args.cfg_options)
    if args.random_weights:
        torch.manual_seed(0)  # one network for all processes, and for the run that goes on
    loaded = load_model(cfg, args.weights, trust_checkpoint=args.trust_checkpoint, random_weights=args.random_weights)
    data = open_datasets(args.config, args.cfg_options)[args.split]
    total = len(range(0, len(data), 1 if args.max_images is None else max(1, -(-len(data) // args.max_images))))
    with progress_bar() as bar:
        task = bar.add_task('judge', total=total)
        batches = photo_batches(loaded, photos(data, args.max_images), args.batch_size)
        rows.judge(args.methods, loaded.model, batches, judgement, lambda done: bar.advance(task, done))
    table = summarize_rows(rows.read(), args.methods)
    print(summary_markdown(table))
    if part == (0, 1):
        for path in write_summary(table, Path(args.out) / 'table'):
            print(path)


def part_of(text: str) -> tuple[int, int]:
    """``2/3`` as (1, 3)."""
    number, _, parts = text.partition('/')
    if not (number.isdigit() and parts.isdigit() and 1 <= int(number) <= int(parts)):
        raise ValueError(f'--part is K/N with 1 ≤ K ≤ N, such as 2/3, got {text!r}')
    return int(number) - 1, int(parts)


def share_out(jobs: int) -> None:
    """The same command line once a process, each with its part."""
    words = [sys.executable, *sys.argv]
    for i, word in enumerate(words):
        if word == '--jobs':
            words[i + 1] = '1'
        elif word.startswith('--jobs='):
            words[i] = '--jobs=1'
    running = [subprocess.Popen([*words, '--part', f'{k + 1}/{jobs}'], stdout=subprocess.DEVNULL) for k in range(jobs)]
    try:
        failed = [process for process in running if process.wait()]
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
    if failed:
        raise ValueError(f'{len(failed)} of {jobs} processes failed; what they say stands above')


if __name__ == '__main__':
    main()
