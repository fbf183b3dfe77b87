# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The manual's pictures are those that docs/make_images.py draws, and its links lead somewhere."""

from __future__ import annotations

import re
import runpy
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest
from doc_blocks import FENCE, ROOT, pages

SCRIPT = runpy.run_path(str(ROOT / 'docs/make_images.py'))
LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s#]*)(?:#([^)\s]+))?[^)]*\)')
HEADING = re.compile(r'^#{1,3} +(.+?) *$', re.M)


def pinned(package: str) -> str:
    pins = (ROOT / 'requirements/constraints.txt').read_text()
    return re.search(rf'^{package}==([\d.]+)', pins, re.M)[1]


def anchors(text: str) -> set[str]:
    """What code hosts and the manual make of a page's headings: small letters, hyphens for blanks, no other signs."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub('', text)):
        shown = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)
        name = re.sub(r'[^\w\- ]', '', shown.lower()).replace(' ', '-')
        found.add(next(n for n in (name, *(f'{name}-{i}' for i in range(1, 99))) if n not in found))
    return found


def test_anchors_of_headings():
    text = '# A `b_c` of d: *e*, 50 %\n```\n# no heading\n```\n## [Same](x.md)\n## Same\n#### deeper than anchors go\n'
    assert anchors(text) == {'a-b_c-of-d-e-50-', 'same', 'same-1'}


@pytest.mark.parametrize('name', SCRIPT['PICTURES'])
def test_picture_is_what_the_script_draws(name):
    if name.endswith('.png') and version('matplotlib').split('.')[:2] != pinned('matplotlib').split('.')[:2]:
        pytest.skip(f'a plot of matplotlib {pinned("matplotlib")}: another version lays it out differently')
    stored = cv2.imread(str(ROOT / 'docs/images' / name))[..., ::-1].astype(int)
    drawn = SCRIPT['PICTURES'][name]().astype(int)
    assert drawn.shape == stored.shape
    # JPEG, and text of another matplotlib, change a few levels; another picture changes tens.
    assert np.abs(drawn - stored).mean() < 6


def test_every_picture_is_shown_and_every_link_leads_somewhere():
    shown, broken = set(), []
    for page in pages():
        for target, anchor in LINK.findall(FENCE.sub('', page.read_text(encoding='utf-8'))):
            if re.match(r'[a-z]+:', target):
                continue
            path = (page.parent / target).resolve() if target else page
            shown.add(path)
            if not path.exists():
                broken.append(f'{page.relative_to(ROOT)}: {target}')
            elif anchor and anchor not in anchors(path.read_text(encoding='utf-8')):
                broken.append(f'{page.relative_to(ROOT)}: {target}#{anchor}')
    assert not broken
    missing = {path for path in Path(ROOT / 'docs/images').iterdir() if path.resolve() not in shown}
    assert not missing


def test_the_table_of_contents_has_every_page():
    index = (ROOT / 'docs/index.md').read_text()
    folder = ROOT / 'docs'
    for page in pages():
        if folder in page.parents and page.name != 'index.md':
            name = str(page.relative_to(folder).with_suffix(''))
            where = (folder / 'reference/index.md').read_text() if name.startswith('reference/') else index
            assert re.search(rf'^{name.removeprefix("reference/")}$', where, re.M), f'{name} is in no toctree'
