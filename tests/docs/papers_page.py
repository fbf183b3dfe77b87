# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What docs/papers.md names."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/papers.md'
#: What a row may say of itself.
STATUS = {'here', 'data'}


def expand(text: str) -> list[str]:
    """``a_{b,c}`` → ``a_b``, ``a_c``."""
    found = re.search(r'\{([^{}]*)\}', text)
    if not found:
        return [text]
    return [one for part in found[1].split(',') for one in expand(text[: found.start()] + part + text[found.end() :])]


def rows() -> list[tuple[str, list[str], str]]:
    """(experiment, files that it names, status) of each row of the page's tables."""
    table = []
    for line in PAGE.read_text(encoding='utf-8').splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('| ') and len(cells) == 3 and cells[2] != 'status':
            names = re.findall(r'`((?:configs|tools|benchmarks)/[^`\s]+)', cells[1])
            table.append((cells[0], [one for name in names for one in expand(name)], cells[2]))
    return table


def configs() -> list[Path]:
    """Every config of the page, once."""
    named = dict.fromkeys(name for _, files, _ in rows() for name in files if name.startswith('configs/'))
    return [ROOT / name for name in named]
