# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The table of docs/reference_figures.md, from mmentropy/experiments/reference_figures.csv: run it after a change."""

from __future__ import annotations

from pathlib import Path

from mmentropy.experiments.references import markdown, references
from mmentropy.safe_files import write_whole

PAGE = Path(__file__).with_name('reference_figures.md')
MARK = '<!-- written by docs/make_references.py -->'


def page(text: str) -> str:
    """The page with the table behind the mark."""
    return f'{text[: text.index(MARK)]}{MARK}\n\n{markdown(references())}'


if __name__ == '__main__':
    write_whole(PAGE, page(PAGE.read_text(encoding='utf-8')))
