# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One reader under atheris, which follows the branches of our code.

``PYTHONPATH=.:tests/datasets python tests/fuzz/coverage_guided.py CASE``

CASE is a name of ``reader_cases.CASES``; further arguments are libFuzzer's, such as ``-runs=100000``. The first byte of
an input chooses which of the case's files it replaces. Needs ``pip install atheris`` (no part of the tests).
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=['mmentropy', 'numpy.lib', 'zipfile', 'csv', 'json']):
    from reader_cases import CASES, check


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in CASES:
        sys.exit(f'give one of these: {", ".join(CASES)}')
    case = CASES[sys.argv.pop(1)]
    warnings.simplefilter('ignore')
    logging.disable()
    with tempfile.TemporaryDirectory() as name:
        folder, seeds = Path(name, 'files'), Path(name, 'seeds')
        folder.mkdir()
        seeds.mkdir()
        case.make(folder)
        originals = [(folder / file, (folder / file).read_bytes()) for file in case.files]
        for number, (_, data) in enumerate(originals):
            (seeds / str(number)).write_bytes(bytes([number]) + data)

        def one(data: bytes) -> None:
            path, original = originals[data[0] % len(originals) if data else 0]
            path.write_bytes(case.mend(data[1:]))
            try:
                check(case, folder)
            finally:
                path.write_bytes(original)

        atheris.Setup([*sys.argv, '-rss_limit_mb=8192', '-max_len=4096', str(seeds)], one)
        atheris.Fuzz()


if __name__ == '__main__':
    main()
