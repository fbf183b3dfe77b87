# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Sweep λ of the entropy regularisers and draw the sweet spot between localisation and classification.

``python tools/analysis_tools/entropy_sweep.py configs/wsol/resnet18_tinyimagenet.py --work-dir DIR`` trains what is
missing (it resumes, as compare.py), and writes sweep.png, sweep.md, sweep.csv and sweep.tex.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmentropy.command_line import one_sentence_errors, positive_float
from mmentropy.experiments.arguments import LOSSES, add_comparison_arguments


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='the plain model')
    parser.add_argument('--losses', nargs='+', default=list(LOSSES), help=', '.join(LOSSES))
    parser.add_argument(
        '--lambdas',
        nargs='+',
        type=positive_float,
        default=[0.01, 0.03, 0.1, 0.3, 1, 3],
        help='grid, mean over the classes',
    )
    add_comparison_arguments(parser)
    parser.add_argument('--localization', default='wsol/MaxBoxAccV2', help='figure of localisation; it also chooses')
    parser.add_argument('--classification', default='accuracy/top1', help='figure of classification')
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.engine import load_config
    from mmentropy.experiments.comparison import named_configs
    from mmentropy.experiments.execution import execute_and_tabulate
    from mmentropy.experiments.sweep import class_count, plan_sweep, sweep_points
    from mmentropy.experiments.sweep_plot import plot_sweep

    num_classes = class_count(load_config(args.config, args.cfg_options))
    runs = plan_sweep(
        args.config,
        args.losses,
        args.lambdas,
        args.seeds,
        args.work_dir,
        args.cfg_options,
        evaluations=named_configs(args.eval_configs),
        evaluation_options=args.eval_options or {},
    )
    out = Path(args.out or Path(args.work_dir) / 'sweep')
    usual = [args.classification, args.localization, 'wsol/entropy']
    failed = execute_and_tabulate(runs, out, None, usual, args.jobs, args.dry_run)
    points = sweep_points(runs)
    if points:
        # Chosen on the validation split; where the figures are of a test split, its own name stands before the key.
        by_val = f'val:{args.localization}'
        chosen_by = by_val if any(by_val in point.figures for point in points) else args.localization
        title = f'{Path(args.config).stem}, {len(args.seeds)} seed(s); the star is the best by {chosen_by}'
        picture = out.with_name(out.name + '.png')
        plot_sweep(
            points,
            picture,
            num_classes,
            localization=args.localization,
            classification=args.classification,
            chosen_by=chosen_by,
            title=title,
        )
        print(f'wrote {picture}')
    if failed:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
