# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""All benchmarks one after the other, and their rows as ``docs/benchmarks.md``: ``make bench``.

A benchmark that fails has its last line in the table, and the others go on. One that was measured already by this
version of its script and of the package is not repeated, so an interrupted run continues; ``--again`` repeats all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from measure import Row, load_average

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ('caching', 'evaluation', 'map_folders', 'explain', 'faithfulness', 'reading', 'segmentation', 'training')
PACKAGES = ('torch', 'torchvision', 'numpy', 'opencv-python', 'numba', 'onedl-mmengine', 'onedl-mmpretrain', 'mmengine')
OPTIONAL = ('grad-cam', 'torchcam', 'quantus', 'pydensecrf2')
INTRODUCTION = """\
# Speed, measured side by side

Written by `make bench` (`benchmarks/suite.py`), which runs each script below, every one of them by itself too; do not
edit. Ours and the alternative run in turn, in one process or in alternating processes, on the same machine. A ratio is
ours over the alternative where the target says ≤ (time or memory that is paid), and the alternative over ours where it
says ≥ (times as fast).
"""


def fingerprint(script: str, options: list[str]) -> str:
    """Of everything that a measurement depends on, beside the machine."""
    found = hashlib.sha256(' '.join([script, *options]).encode())
    sources = [
        *sorted((ROOT / 'mmentropy').rglob('*.py')),
        ROOT / f'benchmarks/{script}.py',
        Path(__file__).with_name('measure.py'),
    ]
    for path in sources:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def run(script: str, options: list[str], folder: Path, again: bool) -> dict:
    """Rows of one script, measured now or, with the same sources, before: ``{rows, command, date, load, error}``."""
    file, mark = folder / f'{script}.json', fingerprint(script, options)
    if file.is_file() and not again:
        earlier = json.loads(file.read_text())
        if earlier.get('fingerprint') == mark and not earlier['error']:
            print(f'{script}: measured already on {earlier["date"]}')
            return earlier
    command = [f'benchmarks/{script}.py', *options]
    print(f'{script}: python {" ".join(command)}', flush=True)
    rows_file = folder / f'{script}.rows.json'
    rows_file.unlink(missing_ok=True)
    before = load_average()
    done = subprocess.run(
        [sys.executable, *command, '--json', str(rows_file)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    result = dict(
        fingerprint=mark,
        command='python ' + ' '.join(command),
        date=datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M UTC'),
        load=f'{before} at the start, {load_average()} at the end',
        rows=json.loads(rows_file.read_text()) if rows_file.is_file() else [],
        error='' if done.returncode == 0 else (lines or [f'ended with {done.returncode}'])[-1],
    )
    part = file.with_name(f'{file.name}.part')
    part.write_text(json.dumps(result, indent=1, ensure_ascii=False))
    os.replace(part, file)
    return result


def installed(names: tuple[str, ...]) -> str:
    """``name version`` of those that are there."""
    found = []
    for name in names:
        try:
            found.append(f'{name} {version(name)}')
        except PackageNotFoundError:
            continue
    return ', '.join(found)


def machine() -> str:
    """Processor, cores, memory and graphics cards in words."""
    info = Path('/proc/cpuinfo')
    names = (
        [line.split(':')[1].strip() for line in info.read_text().splitlines() if line.startswith('model name')]
        if info.is_file()
        else []
    )
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    import torch

    cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    name = names[0] if names else platform.processor()
    return f'{name}, {os.cpu_count()} cores, {memory:.0f} GiB, {", ".join(cards) or "no GPU"}'


def line_of(row: Row) -> str:
    """One line of the Markdown table."""
    figure = '' if row.figure is None else f'{row.figure:.3g} {row.unit_of_figure}'
    if row.figure is not None and row.unit_of_figure == '×':
        figure = f'{row.figure:.3f}' if row.figure < 10 else f'{row.figure:.0f}'
    cells = (row.what, row.ours, row.alternative, row.alternative_value, figure, row.target or '', row.met, row.note)
    return f'| {" | ".join(cell.replace("|", "/") for cell in cells)} |'


def page(results: dict[str, dict]) -> str:
    """The Markdown text of docs/benchmarks.md."""
    lines = [INTRODUCTION, f'Machine: {machine()}. Python {platform.python_version()}, {installed(PACKAGES)}.', '']
    compared = installed(OPTIONAL)
    lines += [
        f'Compared with: {compared}.' if compared else 'None of grad-cam, torchcam and pydensecrf2 is installed.',
        '',
    ]
    lines += [
        '| what | ours | alternative | its value | ratio | target | met | note |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for script, result in results.items():
        lines += [line_of(Row(**row)) for row in result['rows']]
        if result['error']:
            lines.append(line_of(Row(f'benchmarks/{script}.py', 'failed', note=result['error'][:300])))
    lines += ['', 'Each script’s run (load: processes at work on the machine, over one minute):', '']
    for result in results.values():
        lines.append(f'- `{result["command"]}`, {result["date"]}, load {result["load"]}.')
    return '\n'.join(lines) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('scripts', nargs='*', help=f'any of {", ".join(SCRIPTS)}; all by default')
    parser.add_argument('--again', action='store_true', help='repeat what was measured before')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/benchmarks.md')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/benchmarks', help='keeps each script’s rows')
    parser.add_argument(
        '--option',
        action='append',
        default=[],
        metavar='SCRIPT:OPTION',
        help='hand an option to a script, such as training:--rounds=4; may be repeated',
    )
    args = parser.parse_args()
    wrong = set(args.scripts) - set(SCRIPTS) | {o for o in args.option if o.split(':')[0] not in SCRIPTS}
    if wrong:
        parser.error(f'unknown script in {sorted(wrong)[0]!r}; known are {", ".join(SCRIPTS)}')
    args.work_dir.mkdir(parents=True, exist_ok=True)
    results = {}
    for script in args.scripts or SCRIPTS:
        options = [o.split(':', 1)[1] for o in args.option if o.split(':')[0] == script]
        results[script] = run(script, options, args.work_dir, args.again)
    part = args.out.with_name(f'{args.out.name}.part')
    part.write_text(page(results), encoding='utf-8')
    os.replace(part, args.out)
    failed = [script for script, result in results.items() if result['error']]
    print(f'{args.out} written' + (f'; failed: {", ".join(failed)}' if failed else ''))
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()
