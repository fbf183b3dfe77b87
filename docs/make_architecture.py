# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The picture of the house, from the real imports; ``python docs/make_architecture.py`` writes it into docs/images.

``tests/test_layers.py`` holds the code to :data:`FLOORS`, and the picture to the code.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / 'docs/images/architecture.svg'

#: Top to bottom; a module imports from its own floor or from one below it. Files on the last but one stand together.
FLOORS = {
    'commands': 'the command `mmentropy`: names of tools, completion, doctor',
    'explore': 'maps in the browser: session, server, page',
    'experiments': 'many runs: comparison, sweep, analysis, tables, folders of maps',
    'apis': 'what a Python user calls: Localizer, writers, export',
    'segmentation': 'from seeds to a segmenter: stages, pipeline, manifest',
    'visualization': 'panels, hooks, report, pictures of data sets',
    'models': 'classifiers, necks, heads, losses, backbones, erasers, segmentors',
    'explain': 'class maps from any network',
    'evaluation': 'metrics: counts, never maps',
    'datasets': 'readers, sources, drawn images, preparing, transforms',
    'engine': 'start-up, loading a model, checkpoints, hooks',
    'ground': 'structures, registry, hosts, safe_files, image_files',
    'ops': 'all the maths: certainty, mapping, localizing, erasing, seeding, refining',
}


def floor_of(module: str) -> str:
    """The floor of a module's full name; files beside the packages are the ground floor."""
    parts = module.split('.')
    if module == 'mmentropy.__main__':  # two lines, which start the command
        return 'commands'
    if module.startswith('mmentropy._moved'):  # a dozen lines of importlib, which ops use, too
        return 'ops'
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else 'ground'


def modules() -> dict[str, Path]:
    """Full name of every module of the package → its file."""
    names = {}
    for path in sorted((ROOT / 'mmentropy').rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        names['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return names


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, inside functions, too."""
    package = name.split('.') if path.name == '__init__.py' else name.split('.')[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = '.'.join(above + ([node.module] if node.module else []))
            for alias in node.names:
                yield node.lineno, f'{base}.{alias.name}' if f'{base}.{alias.name}' in known else base


def edges() -> Counter[tuple[str, str]]:
    """How often each floor imports from each."""
    known = modules()
    counts: Counter[tuple[str, str]] = Counter()
    for name, path in known.items():
        for _, target in imports(name, path, known):
            if target.split('.')[0] == 'mmentropy':
                counts[floor_of(name), floor_of(target)] += 1
    return counts


def draw() -> str:
    """The house as SVG: one floor a row; on the right, from which floors below it imports."""
    counts, floors, row, left, cell, roof = edges(), list(FLOORS), 44, 620, 46, 110
    width, height = left + cell * len(floors) + 60, row * len(floors) + roof + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="14">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left - 20}" y="{roof - 12}" fill="#555" text-anchor="end">imports from …</text>',
    ]
    for i, floor in enumerate(floors):
        y, column = roof + i * row, left + i * cell + cell / 2
        label = 'structures, registry, …' if floor == 'ground' else f'{floor}/'
        parts += [
            f'<rect x="10" y="{y}" width="{left - 30}" height="{row - 6}" rx="6" fill="#eef3fa" stroke="#9db4d3"/>',
            f'<text x="22" y="{y + 17}" font-weight="bold" fill="#1c3557">{label}</text>',
            f'<text x="22" y="{y + 33}" font-size="12" fill="#333">{FLOORS[floor]}</text>',
            f'<text transform="translate({column:g} {roof - 8}) rotate(-40)" font-size="12" fill="#555">{floor}</text>',
        ]
        for j, below in enumerate(floors):
            if j < i:
                continue
            x, imported = left + j * cell, counts[floor, below] > 0
            fill = '#f6f6f6' if not imported else '#c9d8ec' if j > i else '#e6e6e6'
            parts.append(f'<rect x="{x}" y="{y}" width="{cell - 4}" height="{row - 6}" rx="4" fill="{fill}"/>')
            if imported and j > i:
                parts.append(f'<circle cx="{x + cell / 2 - 2:g}" cy="{y + row / 2 - 3:g}" r="5" fill="#1c3557"/>')
    return '\n'.join([*parts, '</svg>', ''])


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Draw the floors of the package and who imports from whom.')
    parser.add_argument('--check', action='store_true', help='only compare: exit with 1 when it is not current')
    picture = draw()
    if parser.parse_args().check:
        raise SystemExit(PICTURE.read_text(encoding='utf-8') != picture)
    PICTURE.write_text(picture, encoding='utf-8')
    print(f'written: {PICTURE.relative_to(ROOT)}')
