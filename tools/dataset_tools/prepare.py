# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Prepare a data set from its archives: ``python tools/dataset_tools/prepare.py cub --src DIR --dst data/cub``.

Nothing is downloaded; a missing archive is named with its official address. Start it again after an interruption.
"""

import argparse
import sys

from mmentropy.command_line import one_sentence_errors


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('name', help='data set: cub, ilsvrc, tinyimagenet, …; another word lists them')
    parser.add_argument('--src', required=True, help='directory with the archives, or with their unpacked directories')
    parser.add_argument('--dst', help='where the set goes (default: data/NAME)')
    parser.add_argument('--copy', action='store_true', help='copy unpacked directories instead of linking to them')
    parser.add_argument('--no-check', action='store_true', help='do not check the result')
    args = parser.parse_args()
    from mmentropy.datasets.preparing.check import check_dataset
    from mmentropy.datasets.preparing.prepare import prepare
    from mmentropy.datasets.preparing.splits import build_splits

    dst = args.dst or f'data/{args.name}'
    recipe = prepare(args.name, args.src, dst, args.copy)
    if args.no_check:
        return
    report = check_dataset(build_splits(args.name, dst, recipe.splits))
    print(report.text())
    sys.exit(bool(report.faults))


if __name__ == '__main__':
    main()
