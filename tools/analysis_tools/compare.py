# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Train and evaluate configs × seeds, what is missing of them, and write one table.

``python tools/analysis_tools/compare.py CONFIG... --seeds 0 1 --work-dir DIR --out table`` writes table.md, table.csv
and table.tex. Started again it goes on where it was stopped: a finished run is not repeated, an interrupted one resumes
from its last epoch and ends with the same weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmentropy.command_line import one_sentence_errors
from mmentropy.experiments.arguments import add_comparison_arguments

COLUMNS = [
    'accuracy/top1',
    'wsol/MaxBoxAccV2',
    'wsol/GT-known',
    'wsol/Top1-Loc',
    'wsol/PxAP',
    'wsol/entropy',
]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='+', help='config files, one a row of the table')
    add_comparison_arguments(parser)
    parser.add_argument('--columns', nargs='+', help='figures in the Markdown and LaTeX table (the CSV has all)')
    parser.add_argument(
        '--references',
        nargs='+',
        metavar='SET',
        help='write a table with the figures that others published of these sets, too (docs/reference_figures.md)',
    )
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.experiments.comparison import named_configs, plan_runs
    from mmentropy.experiments.execution import execute_and_tabulate
    from mmentropy.experiments.references import references, write_beside

    if args.references:
        references(args.references)  # an unknown set is told before anything runs
    runs = plan_runs(
        args.configs, args.seeds, args.work_dir, args.cfg_options, named_configs(args.eval_configs), args.eval_options
    )
    out = args.out or Path(args.work_dir) / 'table'
    failed = execute_and_tabulate(runs, out, args.columns, COLUMNS, args.jobs, args.dry_run)
    if args.references:
        print(f'wrote {write_beside(runs, out, args.references)}')
    if failed:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
