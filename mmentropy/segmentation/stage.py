# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a stage is: settings, files in one folder, ``run()`` that can be killed and started again."""

from __future__ import annotations

import logging
import multiprocessing
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from mmentropy.engine.devices import usable_device
from mmentropy.ops.mapping.scaling import resize_map
from mmentropy.ops.seeding.confusion import class_iou, confusion_matrix
from mmentropy.ops.seeding.seeds import seed_map
from mmentropy.safe_files import DiskFullError, remove_partial

from .files import ImageMaps, write_list
from .voc_folder import VOCFolder

#: Errors of one image: written down, and the rest goes on.
IMAGE_ERRORS = (ValueError, FileNotFoundError, KeyError)
FAILURES = 'failures.txt'
logger = logging.getLogger(__name__)


@dataclass
class Context:
    """Where a run works and on what.

    Args:
        work_dir: one folder a stage inside.
        data: the images.
        jobs: processes for the stages that work image by image.
        device: of the networks.
        quiet: no progress bars.
        shard: (i, n): work on every n-th image from the i-th only, for several machines on one folder.

    >>> Context(Path('work_dirs/voc'), VOCFolder('data/VOC2012')).folder('maps').as_posix()
    'work_dirs/voc/maps'
    """

    work_dir: Path
    data: VOCFolder
    jobs: int = 1
    device: str = field(default_factory=lambda: str(usable_device()))
    quiet: bool = False
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        self.device = str(usable_device(self.device))

    def folder(self, stage: str) -> Path:
        """The folder of a stage's outputs."""
        return self.work_dir / stage


class Stage(ABC):
    """One step of the pipeline.

    Args:
        name: of its folder and in the manifest; unique in a pipeline.
        source: name of the stage whose outputs it reads; the pipeline fills in the one before.
    """

    #: Rough seconds and bytes an image, for the plan of ``--dry-run``.
    SECONDS, BYTES = 0.1, 20_000

    def __init__(self, name: str, source: str | None = None) -> None:
        self.name, self.source = name, source

    @property
    def needs(self) -> list[str]:
        """Names of the stages whose outputs this one reads."""
        return [self.source] if self.source else []

    @abstractmethod
    def run(self, ctx: Context) -> dict[str, Any]:
        """Make the missing outputs; returns what the manifest notes (counts, mIoU)."""

    @abstractmethod
    def outputs(self, ctx: Context) -> list[Path]:
        """The files that must be there, and unchanged, for the stage to be skipped."""

    def fingerprint(self, ctx: Context) -> Any:
        """What beside its settings decides its outputs, as JSON; e.g. the text of a config."""
        return None

    def plan(self, ctx: Context) -> tuple[int, float, int]:
        """Images, seconds and bytes to expect."""
        count = len(ctx.data.ids())
        return count, count * self.SECONDS / max(ctx.jobs, 1), count * self.BYTES


class PerImageStage(Stage):
    """A stage with one file an image. A bad image costs one sentence in ``failures.txt``; the others go on.

    >>> class Sizes(PerImageStage):
    ...     SUFFIX = '.txt'
    ...     def process(self, ctx, key):
    ...         self.output(ctx, key).write_text(str(ctx.data.image(key).shape))
    >>> Sizes('sizes').output(Context(Path('work'), VOCFolder('VOC2012')), '2007_000032').as_posix()
    'work/sizes/2007_000032.txt'
    """

    SUFFIX = '.npz'

    @abstractmethod
    def process(self, ctx: Context, key: str) -> None:
        """Write the output of one image."""

    def output(self, ctx: Context, key: str) -> Path:
        """The file of one image."""
        return ctx.folder(self.name) / f'{key}{self.SUFFIX}'

    def ids(self, ctx: Context) -> list[str]:
        """Images to work on: those of the list that the source has."""
        keys = ctx.data.ids()
        if self.source:
            there = {path.stem for path in ctx.folder(self.source).glob('*.*')}
            keys = [key for key in keys if key in there]
        return keys

    def outputs(self, ctx: Context) -> list[Path]:
        return sorted(ctx.folder(self.name).glob(f'*{self.SUFFIX}'))

    def missing(self, ctx: Context) -> list[str]:
        """Images of this shard without a finished file."""
        shard, shards = ctx.shard
        return [key for key in self.ids(ctx)[shard::shards] if not self.output(ctx, key).is_file()]

    def process_all(self, ctx: Context, keys: Sequence[str]) -> Iterator[tuple[str, str | None]]:
        """Work through images, yielding each with its error or None."""
        for key in keys:
            yield key, one_sentence(lambda key=key: self.process(ctx, key))

    def run(self, ctx: Context) -> dict[str, Any]:
        folder = ctx.folder(self.name)
        folder.mkdir(parents=True, exist_ok=True)
        if ctx.shard[1] == 1:  # with several processes on one folder, an unfinished file may be another's
            remove_partial(folder)
        keys, failures = self.missing(ctx), {}
        with Progress(disable=ctx.quiet, transient=True) as bar:
            task = bar.add_task(self.name, total=len(keys))
            for key, error in self._spread(ctx, keys):
                bar.advance(task)
                if error:
                    failures[key] = error
                    logger.warning('%s: %s', self.name, error)
        done, total = len(self.outputs(ctx)), len(self.ids(ctx))
        if failures:
            write_list(folder / FAILURES, (f'{key}: {error}' for key, error in sorted(failures.items())))
        else:
            (folder / FAILURES).unlink(missing_ok=True)
        if total == 0 or (failures and done == 0):
            why = next(iter(failures.values())) if failures else 'the stage before has written nothing'
            raise ValueError(f'{self.name}: not one of {len(keys)} images could be done; the first: {why}')
        return {'images': done, 'failed': len(failures), 'made': len(keys) - len(failures), **self.evaluate(ctx)}

    def _spread(self, ctx: Context, keys: list[str]) -> Iterator[tuple[str, str | None]]:
        if ctx.jobs <= 1 or len(keys) < 2:
            yield from self.process_all(ctx, keys)
            return
        quiet = Context(ctx.work_dir, ctx.data, 1, ctx.device, True)
        shares = [keys[i : i + 8] for i in range(0, len(keys), 8)]
        with ProcessPoolExecutor(ctx.jobs, clean_processes(), initializer=_one_thread) as pool:
            for future in as_completed([pool.submit(_work, self, quiet, share) for share in shares]):
                yield from future.result()

    def evaluate(self, ctx: Context) -> dict[str, Any]:
        """Measures for the manifest."""
        return {}


def clean_processes() -> multiprocessing.context.BaseContext:
    """Processes that are not forked from this one: threads and CUDA do not survive that. The imports happen once."""
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmentropy.segmentation'])
    return context


def _one_thread() -> None:
    torch.set_num_threads(1)


def _work(stage: PerImageStage, ctx: Context, keys: list[str]) -> list[tuple[str, str | None]]:
    return list(stage.process_all(ctx, keys))


def one_sentence(action: Any) -> str | None:
    """Run it; the text of an image's error, None without one. A full disk is no image's error."""
    try:
        action()
    except DiskFullError:
        raise
    except IMAGE_ERRORS as error:
        return str(error.args[0]) if error.args else type(error).__name__
    return None


def label_map(scores: ImageMaps) -> np.ndarray:
    """(H, W) uint8 classes at the image's size, 0 background: the best of the scores, resized bilinearly."""
    resized = resize_map(scores.maps, scores.size, 'bilinear')
    return seed_map(resized[1:], scores.labels, resized[0])


def iou_figures(counts: np.ndarray) -> dict[str, Any]:
    """mIoU in per cent over the classes that occur, and the IoU of each, None where one does not."""
    iou = class_iou(counts)
    return {
        'mIoU': round(100 * float(np.nanmean(iou)), 2) if np.isfinite(iou).any() else None,
        'IoU': [None if np.isnan(v) else round(100 * float(v), 2) for v in iou],
    }


class ScoreStage(PerImageStage):
    """A per-image stage that writes :class:`ImageMaps` with a background, and measures them against true masks."""

    def predicted(self, ctx: Context, key: str) -> np.ndarray:
        """(H, W) classes of one image."""
        return label_map(ImageMaps.load(self.output(ctx, key)))

    def evaluate(self, ctx: Context) -> dict[str, Any]:
        classes = ctx.data.num_classes + 1
        total, measured = np.zeros((classes, classes), np.int64), 0
        for path in self.outputs(ctx):
            try:
                predicted = self.predicted(ctx, path.stem)
                truth = ctx.data.mask(path.stem, predicted.shape)
            except ValueError as error:
                logger.warning('%s: not measured: %s', self.name, error)
                continue
            if truth is not None:
                total += confusion_matrix(predicted, truth, classes)
                measured += 1
        return {**iou_figures(total), 'measured': measured} if measured else {'mIoU': None}
