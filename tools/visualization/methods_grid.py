# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One image a row, one method a column, from the runs of compare.py.

``python tools/visualization/methods_grid.py CONFIG... --work-dir DIR --out grid.png`` with the configs, the work
directory and the ``--cfg-options`` that compare.py had.
"""

from __future__ import annotations

import argparse

from mmentropy.command_line import add_config_options, one_sentence_errors, positive_int


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='+', help='config files, one a column')
    parser.add_argument('--work-dir', required=True, help="compare.py's work directory")
    parser.add_argument('--out', required=True, help='picture to write')
    parser.add_argument('--seed', type=int, default=0, help='which seed of each method (default: 0)')
    parser.add_argument(
        '--samples', type=positive_int, default=6, help='images, spread evenly over the set (default: 6)'
    )
    parser.add_argument('--indices', type=int, nargs='+', help='these images instead')
    add_config_options(parser, '--cfg-options', "compare.py's --cfg-options")
    parser.add_argument('--eval-config', metavar='[NAME=]CONFIG', help='take the images of this config’s test set')
    add_config_options(parser, '--eval-options', 'override keys of --eval-config')
    parser.add_argument('--tile', type=positive_int, default=160, help='side of a picture, pixels (default: 160)')
    parser.add_argument('--threshold', type=float, default=0.2, help='of the boxes, on min-max normalised maps (0.2)')
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.engine import trust_checkpoints
    from mmentropy.experiments.comparison import named_configs, plan_runs
    from mmentropy.experiments.methods_grid import methods_grid
    from mmentropy.visualization.visualizer import write_image

    trust_checkpoints(False)
    evaluations = named_configs([args.eval_config] if args.eval_config else [])
    runs = plan_runs(args.configs, [args.seed], args.work_dir, args.cfg_options, evaluations, args.eval_options)
    picture = methods_grid(
        runs, args.indices or args.samples, next(iter(evaluations), None), tile=args.tile, threshold=args.threshold
    )
    write_image(args.out, picture)
    print(f'wrote {args.out}: {picture.shape[1]}×{picture.shape[0]} pixels, {len(runs)} methods')


if __name__ == '__main__':
    main()
