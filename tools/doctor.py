# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What is installed, what is missing, and how to mend it. Exit code 1 where something stops the work."""

import argparse
from pathlib import Path

from mmentropy.command_line import one_sentence_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('data'), help='folder of data sets (default: data)')
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.commands.doctor import examine

    findings = []
    for finding in examine(args.data):
        print(finding.text(), flush=True)
        findings.append(finding)
    stopping, problems = sum(f.stops for f in findings), sum(bool(f.cure) and not f.stops for f in findings)
    print(
        f'\n{stopping} thing(s) stop the work, {problems} could be better' if stopping + problems else '\nall is well'
    )
    raise SystemExit(1 if stopping else 0)


if __name__ == '__main__':
    main()
