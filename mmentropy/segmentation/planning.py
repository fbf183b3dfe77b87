# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a run will take, from a few images and training steps that are really done, in a folder that is then removed."""

from __future__ import annotations

import json
import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmentropy.datasets.preparing.voc_export import export_voc
from mmentropy.processes import run_group
from mmentropy.safe_files import load_json, write_whole

from .pipeline import SeedPipeline
from .records import StageRecord
from .stage import PerImageStage, Stage
from .training import Training, host_command, host_environment

#: Images of each stage, the first of which warms up, and steps of each training.
IMAGES, STEPS = 4, 6
#: Bytes of a training's folder: three checkpoints with the optimizer's state, and the weights.
CHECKPOINTS = 3 * 2 + 1
TIMES = 'times.json'
logger = logging.getLogger(__name__)


def measured_plan(
    pipeline: SeedPipeline, only: Sequence[str] | None = None, start: str | None = None
) -> list[dict[str, Any]]:
    """:meth:`SeedPipeline.plan` with seconds and bytes measured on a few images and steps.

    Trainings are run for some steps, and what they leave makes the maps of the images that are timed; stages that
    cannot be measured keep the guess, and ``measured`` tells which.
    """
    rows = pipeline.plan(only, start)
    needed = _upstream(pipeline, {row['stage'] for row in rows if not row['finished']})
    with tempfile.TemporaryDirectory(prefix='mmentropy-plan-') as folder:
        trial = _trial(pipeline, Path(folder))
        told = {}
        for stage in trial.stages:
            if stage.name in needed:
                try:
                    told[stage.name] = _measure(trial, stage)
                except (ValueError, OSError, KeyError) as error:
                    logger.warning('%s cannot be measured beforehand: %s', stage.name, error)
                    break
    for row in rows:
        row['measured'] = row['stage'] in told
        if row['measured'] and not row['finished']:
            each, size, training = told[row['stage']]
            row['seconds'] = each * (training.steps(row['images']) if training else row['images'] / pipeline.ctx.jobs)
            row['bytes'] = size if training else size * row['images']
    return rows


@dataclass(frozen=True)
class TrainingLength:
    """How long a training is: its steps, or its epochs and the images of a step.

    >>> TrainingLength(max_iters=600).steps(1000), TrainingLength(max_epochs=3, batch_size=32).steps(1000)
    (600, 96)
    """

    max_iters: int = 0
    max_epochs: int = 0
    batch_size: int = 1

    def steps(self, images: int) -> int:
        """Steps of the whole training on so many images."""
        return self.max_epochs * -(-images // self.batch_size) if self.max_epochs else self.max_iters


def _upstream(pipeline: SeedPipeline, names: set[str]) -> set[str]:
    """These stages and all that they read from."""
    found = set(names)
    for stage in reversed(pipeline.stages):
        if stage.name in found:
            found |= set(stage.needs)
    return found


def _trial(pipeline: SeedPipeline, folder: Path) -> SeedPipeline:
    """The same stages on the first few images, in another folder."""
    data = replace(pipeline.ctx.data, limit=IMAGES)
    if pipeline.drawn is not None and not Path(data.root).is_dir():
        data = replace(data, root=str(folder / 'VOC2012'))
        export_voc(data.root, **{**pipeline.drawn, 'train': 32, 'val': IMAGES, 'select': 0})
    ctx = replace(pipeline.ctx, work_dir=folder / 'run', data=data, quiet=True, jobs=1, places={}, names={})
    return SeedPipeline(list(pipeline.settings.values()), ctx)


def _measure(trial: SeedPipeline, stage: Stage) -> tuple[float, float, TrainingLength | None]:
    """Seconds for an image or step, bytes for an image or of the training's folder, and how long a training is."""
    folder = trial.ctx.folder(stage.name)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(stage, Training):
        told = _some_steps(trial, stage, folder)
        StageRecord(hash='trial', files={'model.pth': 'trial'}).save(folder)
        return told.pop('step'), CHECKPOINTS * (folder / 'model.pth').stat().st_size, TrainingLength(**told)
    if not isinstance(stage, PerImageStage):
        raise ValueError('it is neither a training nor image by image')
    seconds, sizes = [], []
    for key in stage.ids(trial.ctx):
        began = time.perf_counter()
        stage.process(trial.ctx, key)
        seconds.append(time.perf_counter() - began)
        sizes.append(stage.output(trial.ctx, key).stat().st_size)
    if not seconds:
        raise ValueError('there is no image to try it on')
    stage.finish(trial.ctx, len(seconds), {})
    return statistics.mean(seconds[1:] or seconds), statistics.mean(sizes), None


def _some_steps(trial: SeedPipeline, stage: Training, folder: Path) -> dict[str, Any]:
    """Run a training's first steps; its folder then has weights."""
    cfg = stage.build(trial.ctx)
    cfg.launcher = 'none'  # of several processes one is timed, on its share of a batch
    write_whole(folder / 'config.py', cfg.pretty_text)
    command = host_command(folder / 'config.py', 1, str(STEPS))
    with open(folder / 'train.log', 'ab') as file:
        code = run_group(command, stdout=file, stderr=file, env=host_environment())
    if code:
        said = (folder / 'train.log').read_text(errors='replace').strip().splitlines()[-1:] or ['nothing said']
        raise ValueError(f'its training ended with code {code}: {said[0]}')
    told = load_json(folder / TIMES)
    return {**told, 'batch_size': told['batch_size'] * stage.processes}


def time_steps(runner: Any, steps: int, folder: Path) -> None:
    """Train for some steps, and write the seconds of one, their number in the whole run, and the weights."""
    from mmengine.hooks import Hook

    from .training import save_weights

    stamps: list[float] = []

    class Enough(Exception):
        """Ends the training."""

    class StepTimer(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
            stamps.append(time.perf_counter())
            if len(stamps) >= steps:
                raise Enough

    runner.register_hook(StepTimer())
    with suppress(Enough):
        runner.train()
    gaps = [later - earlier for earlier, later in pairwise(stamps)]
    save_weights(runner.model.state_dict(), folder / 'model.pth')
    told = {'step': statistics.mean(gaps) if gaps else 0.0, 'batch_size': runner.cfg.train_dataloader.batch_size}
    by_epoch = hasattr(runner.train_loop, 'run_epoch')
    told |= {'max_epochs': runner.max_epochs} if by_epoch else {'max_iters': runner.max_iters}
    write_whole(folder / TIMES, json.dumps(told))
