# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Check a data set: ``python tools/dataset_tools/check.py cub [--root data/cub] [--deep]``, or a config's data sets.

Exit code 1 on any fault; each fault names file and line.
"""

import argparse
import sys

from mmentropy.command_line import one_sentence_errors, positive_int


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('target', help='name of a data set, or a config file')
    parser.add_argument('--root', help='root of the set (default: data/NAME)')
    parser.add_argument('--deep', action='store_true', help='decode every image and mask, on all cores')
    parser.add_argument('--jobs', type=positive_int, help='processes of --deep')
    parser.add_argument('--limit', type=positive_int, default=200, help='faults to print')
    args = parser.parse_args()
    from rich.progress import Progress

    from mmentropy.datasets.preparing.check import check_dataset
    from mmentropy.datasets.preparing.splits import build_config_splits, build_splits
    from mmentropy.engine import load_config

    if args.target.endswith('.py'):
        datasets = build_config_splits(load_config(args.target))
    else:
        datasets = build_splits(args.target, args.root or f'data/{args.target}')
    total = sum(len(data) for data in datasets.values() if not isinstance(data, Exception))
    with Progress(transient=True) as bar:
        task = bar.add_task('checking', total=total)
        report = check_dataset(datasets, args.deep, args.jobs, lambda done: bar.advance(task, done))
    print(report.text(args.limit))
    sys.exit(bool(report.faults))


if __name__ == '__main__':
    main()
