# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""How methods do with few images of each class: trains what is missing, writes tables and a picture.

``python tools/analysis_tools/few_samples.py CONFIG... --per-class 1 2 5 10 --work-dir DIR``. Every run makes equally
many steps; the images are drawn by the seed, and 5 hold the 2. Started again it goes on, as compare.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmentropy.command_line import one_sentence_errors, positive_int
from mmentropy.experiments.arguments import add_comparison_arguments


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='+', help='config files, one a line of the picture')
    parser.add_argument('--per-class', nargs='+', type=positive_int, default=[1, 2, 5, 10], help='images of each class')
    add_comparison_arguments(parser)
    parser.add_argument('--figures', nargs='+', help='what is drawn, a panel each (default: top-1 and the first other)')
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.experiments.comparison import named_configs
    from mmentropy.experiments.execution import execute_and_tabulate
    from mmentropy.experiments.sample_sweep import plan_sample_sweep, plot_sample_sweep, sample_points

    evaluating = dict(evaluations=named_configs(args.eval_configs), evaluation_options=args.eval_options)
    runs = plan_sample_sweep(args.configs, args.per_class, args.seeds, args.work_dir, args.cfg_options, **evaluating)
    out = Path(args.out or Path(args.work_dir) / 'few_samples')
    failed = execute_and_tabulate(runs, out, args.figures, ['accuracy/top1'], args.jobs, args.dry_run)
    points = sample_points(runs)
    if points:
        there = list(dict.fromkeys(key for curve in points.values() for cell in curve.values() for key in cell))
        usual = ['accuracy/top1', next((key for key in there if not key.startswith('accuracy/')), 'accuracy/top1')]
        keys = args.figures or list(dict.fromkeys(key for key in usual if key in there))
        picture = out.with_name(out.name + '.png')
        plot_sample_sweep(points, picture, keys)
        print(f'wrote {picture}')
    if failed:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
