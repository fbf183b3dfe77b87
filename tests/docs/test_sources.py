# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Docstrings and pages cite what their readers have: papers, and pages of this repository."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    path
    for folder in ('mmentropy', 'tests', 'tools', 'benchmarks', 'configs', 'docs')
    for path in sorted((ROOT / folder).rglob('*'))
    if path.suffix in ('.py', '.md', '.yml') and path != Path(__file__)
]


def test_no_paragraphs_of_papers_that_are_not_here():
    """A capital name and a paragraph sign: how notes from outside the repository are cited."""
    citation = re.compile(r'\b[A-Z]{4,}(?:\.md)?,? §')
    assert citation.search('as in NOTES.md §5')
    cited = [f'{path.relative_to(ROOT)}: {found[0]}' for path in FILES if (found := citation.search(path.read_text()))]
    assert cited == []


def test_pages_that_docstrings_name_are_there():
    named = {
        (path.relative_to(ROOT), page)
        for path in FILES
        if path.suffix == '.py'
        for page in re.findall(r'\bdocs/[\w/]+\.md\b', path.read_text())
    }
    assert named
    assert [(str(path), page) for path, page in sorted(named) if not (ROOT / page).is_file()] == []
