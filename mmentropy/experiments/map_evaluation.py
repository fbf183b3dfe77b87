# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Evaluation of score maps in files: what ``eval_maps.py`` and ``error_analysis.py`` under ``tools/`` share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mmentropy import __version__
from mmentropy.evaluation.map_files import MapFolder, Truths, read_predictions
from mmentropy.evaluation.offline import MapEvaluation, Outcome
from mmentropy.safe_files import file_digest
from mmentropy.structures import height_and_width
from mmentropy.tasks import Workers, remove_records

#: Faults that are listed one by one on the terminal; all of them are in the JSON.
LISTED = 40


def evaluation_from(args: argparse.Namespace, suffix: str = '.json') -> tuple[MapEvaluation, Path]:
    """Maps and ground truths of parsed arguments, and the path of the output. Metrics are still to be set."""
    folder = Path(args.maps)
    if not folder.is_dir():
        raise FileNotFoundError(f'{args.maps} is not a folder; give the one that holds the score maps')
    truths = truths_of(args)
    out = Path(args.out) if args.out else folder.resolve().parent / f'{folder.resolve().name}{suffix}'
    predictions = read_predictions(args.predictions) if args.predictions else None
    return MapEvaluation(truths, MapFolder(folder, truths.ids), predictions=predictions), out


def truths_of(args: argparse.Namespace) -> Truths:
    """The ground truths of ``--metadata`` or ``--config``; ``args.eval_size`` becomes (height, width)."""
    args.eval_size = height_and_width(args.eval_size, '--eval-size')
    from mmentropy.datasets.readers.truths import DatasetTruths, MetadataTruths

    if args.metadata:
        from mmentropy.datasets.readers.wsol_metadata import read_metadata

        return MetadataTruths(read_metadata(args.metadata), args.mask_root, args.eval_size)
    from mmentropy.engine import build_dataset, load_config

    return DatasetTruths(build_dataset(load_config(args.config, args.cfg_options), args.split))


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments that decide the figures, as they go into the JSON."""
    others = ('jobs', 'launcher', 'allow_missing', 'no_resume', 'out')
    return {key: value for key, value in vars(args).items() if key not in others}


def run_with_progress(evaluation: MapEvaluation, args: argparse.Namespace, out: Path | None) -> Outcome:
    """Run over all cores with a progress bar; an interrupted run leaves ``<out>.state`` and goes on from there.

    With a ``--launcher`` this is the folder ``<out>.records``; a rank other than the first ends here when its share is
    done.
    """
    from mmentropy.progress import progress_bar

    workers = Workers.of(getattr(args, 'launcher', 'none'), args.jobs)
    state = None if out is None else out.with_name(f'{out.name}.{"state" if workers.launcher == "none" else "records"}')
    if state is not None and args.no_resume:
        if workers.world > 1:
            raise ValueError(f'--no-resume cannot be told to many ranks at once; remove {state} before you start them')
        _remove_state(state)
    files = [getattr(args, name, None) for name in ('predictions', 'threshold_from')]
    settings = (__version__, settings_of(args), _config_text(args), [_digest(path) for path in files])
    if not workers.is_first:
        evaluation.run(args.jobs, state, settings, workers=workers)
        raise SystemExit(0)
    with progress_bar() as bar:
        task = bar.add_task('evaluate', total=len(evaluation.truths.ids))
        told = lambda done, _: bar.update(task, completed=done)  # noqa: E731
        return evaluation.run(args.jobs, state, settings, told, workers)


def _remove_state(state: Path) -> None:
    """Forget an interrupted run: its file, or the folder of its records, in which nothing else is touched."""
    if state.is_dir():
        remove_records(state, [path.stem for path in state.glob('images*.json')])
    else:
        state.unlink(missing_ok=True)


def report_faults(outcome: Outcome, allow_missing: bool) -> int:
    """List what was left out on stderr, and give the exit code: 1 for faults, unless they are allowed."""
    if outcome.faults:
        print(f'\n{len(outcome.faults)} faults; these images or files are not in the figures:', file=sys.stderr)
        for name, problem in outcome.faults[:LISTED]:
            print(f'  {name}: {problem}', file=sys.stderr)
        if len(outcome.faults) > LISTED:
            print(f'  … and {len(outcome.faults) - LISTED} more, see the JSON', file=sys.stderr)
    if not outcome.images:
        print('no image could be evaluated', file=sys.stderr)
        return 1
    return 0 if allow_missing or not outcome.faults else 1


def _digest(path: str | None) -> str | None:
    """Hash of a file that decides figures, so that a run is not resumed with another."""
    if path is None or not Path(path).is_file():
        return None
    return file_digest(path)


def _config_text(args: argparse.Namespace) -> str | None:
    """What ``--config`` says, with what it inherits: the file may be edited between two runs."""
    if not args.config:
        return None
    from mmentropy.engine import load_config

    return str(load_config(args.config, args.cfg_options)._cfg_dict.to_dict())
