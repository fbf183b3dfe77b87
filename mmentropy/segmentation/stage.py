# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a stage is: settings, files in one folder, ``run()`` that can be killed and started again."""

from __future__ import annotations

import base64
import logging
import multiprocessing
import os
import signal
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from mmentropy.datasets.sources import ImageSource
from mmentropy.engine.devices import usable_device
from mmentropy.ops.mapping.scaling import resize_map
from mmentropy.ops.seeding.confusion import class_iou, confusion_matrix
from mmentropy.ops.seeding.seeds import seed_map
from mmentropy.safe_files import DiskFullError, remove_partial
from mmentropy.tasks import Workers, remove_records, run_once, run_tasks

from .digests import Digests, digest_of
from .files import ImageMaps, write_list

#: Errors of one image: written down, and the rest goes on.
IMAGE_ERRORS = (ValueError, FileNotFoundError, KeyError)
FAILURES = 'failures.txt'
#: Folder of the records of shares, inside a stage's.
SHARES = '.shares'
#: Names the attempt at a stage that its shares belong to.
ATTEMPT = '.attempt'
#: Images a share: enough to fill batches, few enough that a lost machine costs little.
SHARE = 32
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
        workers: whoever else works on the same folder; see :class:`~mmentropy.tasks.Workers`.
        places: stage → its folder, where that is not the one in ``work_dir``: what a branch takes from its base.
        names: stage → name of its folder in ``work_dir``, where that is not its own.
        digests: what files hold.

    >>> from mmentropy.datasets.sources import VOCFolder
    >>> Context(Path('work_dirs/voc'), VOCFolder('data/VOC2012')).folder('maps').as_posix()
    'work_dirs/voc/maps'
    """

    work_dir: Path
    data: ImageSource
    jobs: int = 1
    device: str = field(default_factory=lambda: str(usable_device()))
    quiet: bool = False
    workers: Workers = field(default_factory=Workers)
    places: dict[str, Path] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    digests: Digests = field(default_factory=Digests, repr=False)

    def __post_init__(self) -> None:
        self.device = str(usable_device(self.device))

    def folder(self, stage: str) -> Path:
        """The folder of a stage's outputs."""
        return self.places.get(stage, self.work_dir / self.names.get(stage, stage))

    @property
    def alone(self) -> bool:
        """Whether no other process is meant to work on the folder."""
        return self.workers.world == 1

    def for_workers(self) -> Context:
        """What a process that works for this one needs: quiet, and without the table of digests."""
        return Context(self.work_dir, self.data, self.jobs, self.device, True, places=self.places, names=self.names)


class Stage(ABC):
    """One step of the pipeline.

    Args:
        name: of its folder and in the manifest; unique in a pipeline.
        source: name of the stage whose outputs it reads; the pipeline fills in the one before.
    """

    #: Rough seconds and bytes an image, for the plan of ``--dry-run`` where nothing can be measured yet.
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

    def clear(self, ctx: Context) -> None:
        """Remove what the stage has written, to make it anew."""
        for path in self.outputs(ctx):
            path.unlink(missing_ok=True)

    def fingerprint(self, ctx: Context) -> Any:
        """What beside its settings decides its outputs, as JSON; e.g. the text of a config."""
        return None

    def depends(self, ctx: Context) -> dict[str, str]:
        """What all of its outputs are made from → hash of the content: weights of the stage before, files of others."""
        found = {}
        for needed in self.needs:
            weights = ctx.folder(needed) / 'model.pth'
            if weights.is_file():
                found[f'{needed}/model.pth'] = ctx.digests.of(weights)
        return found

    def measured_on(self, ctx: Context) -> str:
        """Hash of the true masks that :meth:`evaluate` reads; empty for a stage that measures nothing."""
        return ''

    def evaluate(self, ctx: Context) -> dict[str, Any]:
        """Measures for the manifest."""
        return {}

    def plan(self, ctx: Context) -> tuple[int, float, int]:
        """Images, seconds and bytes to expect."""
        count = len(ctx.data.ids())
        return count, count * self.SECONDS / max(ctx.jobs, 1), count * self.BYTES


class PerImageStage(Stage):
    """A stage with one file an image. A bad image costs one sentence in ``failures.txt``; the others go on.

    >>> from mmentropy.datasets.sources import VOCFolder
    >>> class Sizes(PerImageStage):
    ...     SUFFIX = '.txt'
    ...     def process(self, ctx, key):
    ...         self.output(ctx, key).write_text(str(ctx.data.image(key).shape))
    >>> Sizes('sizes').output(Context(Path('work'), VOCFolder('VOC2012')), '2007_000032').as_posix()
    'work/sizes/2007_000032.txt'
    """

    SUFFIX = '.npz'
    #: Whether its figures come from true masks.
    MEASURES = False

    @abstractmethod
    def process(self, ctx: Context, key: str) -> None:
        """Write the output of one image."""

    def data(self, ctx: Context) -> ImageSource:
        """The list that it works on."""
        return ctx.data

    def output(self, ctx: Context, key: str) -> Path:
        """The file of one image."""
        return ctx.folder(self.name) / f'{key}{self.SUFFIX}'

    def ids(self, ctx: Context) -> list[str]:
        """Images to work on: those of the list that the source has."""
        keys = self.data(ctx).ids()
        if self.source:
            there = {path.stem for path in ctx.folder(self.source).glob('*.*')}
            keys = [key for key in keys if key in there]
        return keys

    def done(self, ctx: Context) -> list[str]:
        """Images with a finished file."""
        there = {path.name for path in ctx.folder(self.name).glob(f'*{self.SUFFIX}')}
        return [key for key in self.ids(ctx) if f'{key}{self.SUFFIX}' in there]

    def outputs(self, ctx: Context) -> list[Path]:
        return [self.output(ctx, key) for key in sorted(self.done(ctx))]

    def clear(self, ctx: Context) -> None:
        for path in ctx.folder(self.name).glob(f'*{self.SUFFIX}'):
            path.unlink(missing_ok=True)

    def missing(self, ctx: Context) -> list[str]:
        """Images without a finished file."""
        done = set(self.done(ctx))
        return [key for key in self.ids(ctx) if key not in done]

    def made_from(self, ctx: Context, key: str) -> list[Path]:
        """The files that one image's output is made from, beside its labels."""
        files = [self.data(ctx).image_path(key)]
        if self.source:
            files += [path for end in ('.npz', '.png') if (path := ctx.folder(self.source) / f'{key}{end}').is_file()]
        return files

    def image_digest(self, ctx: Context, key: str) -> str:
        """Hash of what one image's output is made from."""
        files = [ctx.digests.of(path) for path in self.made_from(ctx, key)]
        return digest_of([ctx.digests.of_any(self.data(ctx).labels_from(key)), *files])

    def measured_on(self, ctx: Context) -> str:
        if not self.MEASURES:
            return ''
        data = self.data(ctx)
        return digest_of({key: ctx.digests.of_any(data.truth_from(key)) for key in self.ids(ctx)})

    def process_all(self, ctx: Context, keys: Sequence[str]) -> Iterator[tuple[str, str | None]]:
        """Work through images, yielding each with its error or None."""
        for key in keys:
            yield key, one_sentence(lambda key=key: self.process(ctx, key))

    def run(self, ctx: Context) -> dict[str, Any]:
        folder = ctx.folder(self.name)
        folder.mkdir(parents=True, exist_ok=True)
        if ctx.alone:  # with several processes on one folder, an unfinished file may be another's
            remove_partial(folder)
        # What is missing changes while others work: together, all images are shared out, and finished ones passed over.
        keys = self.in_order(ctx, self.missing(ctx) if ctx.alone else self.ids(ctx))
        shares = share_out(ctx, self, 'work', keys, _Work(self, ctx.for_workers()))
        failures = {key: error for share in shares for key, error in share['failures'].items()}
        if ctx.workers.is_first:
            for error in failures.values():
                logger.warning('%s: %s', self.name, error)
        result = first_does(ctx, self, 'finish', lambda: self.finish(ctx, len(keys), failures))
        made = sum(share['made'] for share in shares)
        return {**result, 'made': made, **self.evaluate(ctx)}

    def in_order(self, ctx: Context, keys: list[str]) -> list[str]:
        """The images in the order in which they are shared out."""
        return keys

    def finish(self, ctx: Context, asked: int, failures: dict[str, str]) -> dict[str, Any]:
        """When every image has been tried: what failed is written down."""
        folder, done, total = ctx.folder(self.name), len(self.done(ctx)), len(self.ids(ctx))
        if failures:
            write_list(folder / FAILURES, (f'{key}: {error}' for key, error in sorted(failures.items())))
        else:
            (folder / FAILURES).unlink(missing_ok=True)
        if total == 0 or (failures and done == 0):
            why = next(iter(failures.values())) if failures else 'the stage before has written nothing'
            raise ValueError(f'{self.name}: not one of {asked} images could be done; the first: {why}')
        return {'images': done, 'failed': len(failures), 'failures': dict(sorted(failures.items()))}

    def measure(self, ctx: Context, keys: Sequence[str]) -> Any:
        """What some images add to the figures, as JSON."""
        return None

    def summarise(self, ctx: Context, shares: list[Any]) -> dict[str, Any]:
        """Figures of all images from :meth:`measure` of their shares."""
        return {}

    def evaluate(self, ctx: Context) -> dict[str, Any]:
        """Measures for the manifest; the images are shared out here, too."""
        if not self.MEASURES:
            return {}
        return self.summarise(ctx, share_out(ctx, self, 'measure', self.done(ctx), _Measure(self, ctx.for_workers())))


def share_out(ctx: Context, stage: PerImageStage, what: str, keys: list[str], work: Any) -> list[Any]:
    """Results of a function of some images each, in order; processes and machines take the shares.

    Where one was killed, the shares that it had finished are not done again.
    """
    workers = ctx.workers
    if workers.launcher == 'none':
        workers = Workers('none', ctx.jobs, context=clean_processes())
    parts = max(workers.jobs, workers.world)
    size = max(1, min(SHARE, len(keys) // (4 * parts))) if parts > 1 else SHARE
    shares = {f'{what}-{i // size:06d}': keys[i : i + size] for i in range(0, len(keys), size)}
    folder = ctx.folder(stage.name) / SHARES
    with Progress(disable=ctx.quiet or not ctx.workers.is_first, transient=True) as bar:
        task = bar.add_task(f'{stage.name}: {what}', total=len(shares))

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        told = run_tasks(work, shares, folder, digest_of([keys, attempt(ctx, stage)]), workers, advance)
    if ctx.alone:
        remove_records(folder, shares)
    return list(told.values())


def first_does(ctx: Context, stage: Stage, what: str, action: Callable[[], Any]) -> Any:
    """Let the first process do something while the others wait for its result, a JSON value."""
    folder = ctx.folder(stage.name) / SHARES
    result = run_once(action, what, folder, attempt(ctx, stage), ctx.workers)
    if ctx.alone:
        remove_records(folder, [what])
    return result


def attempt(ctx: Context, stage: Stage) -> str:
    """Which attempt at a stage a share belongs to: written by the pipeline when the attempt begins."""
    path = ctx.folder(stage.name) / ATTEMPT
    return path.read_text(encoding='utf-8') if path.is_file() else ''


@dataclass(frozen=True)
class _ForWorkers:
    """A function of some images. The process that it is sent to ends with the sender, also before it has any work."""

    stage: PerImageStage
    ctx: Context

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        end_with_parent()


class _Work(_ForWorkers):
    """Do those of some images that are not done: how many were made, and image → error of those that failed."""

    def __call__(self, keys: list[str]) -> dict[str, Any]:
        keys = [key for key in keys if not self.stage.output(self.ctx, key).is_file()]
        failures = {key: error for key, error in self.stage.process_all(self.ctx, keys) if error}
        return {'made': len(keys) - len(failures), 'failures': failures}


class _Measure(_ForWorkers):
    """What some images add to the figures."""

    def __call__(self, keys: list[str]) -> Any:
        return self.stage.measure(self.ctx, keys)


def clean_processes() -> multiprocessing.context.BaseContext:
    """Processes that are not forked from this one: threads and CUDA do not survive that. The imports happen once."""
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmentropy.segmentation'])
    return context


_following = False


def end_with_parent() -> None:
    """In a worker: end when the process that handed out the work does, however that ends.

    The server that workers are forked from lives as long as they do, so its end would tell them nothing.
    """
    global _following
    if _following or multiprocessing.current_process().name == 'MainProcess':
        return
    _following = True
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = None
    while parent is None:  # a process that is just being made does not know it yet
        time.sleep(0.05)
        parent = multiprocessing.parent_process()
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def one_sentence(action: Any) -> str | None:
    """Run it; the text of an image's error, None without one. A full disk is no image's error."""
    try:
        action()
    except DiskFullError:
        raise
    except IMAGE_ERRORS as error:
        return str(error.args[0]) if error.args else type(error).__name__
    return None


def label_map(scores: ImageMaps, num_classes: int = 255) -> np.ndarray:
    """(H, W) classes at the image's size, 0 background: the best of the scores, resized bilinearly.

    ``num_classes``, with background, decides the type; see :func:`~mmentropy.ops.seeding.confusion.label_type`.
    """
    resized = resize_map(scores.maps, scores.size, 'bilinear')
    return seed_map(resized[1:], scores.labels, resized[0], num_classes)


def iou_figures(counts: np.ndarray) -> dict[str, Any]:
    """mIoU in per cent over the classes that occur, and the IoU of each, None where one does not."""
    iou = class_iou(counts)
    return {
        'mIoU': round(100 * float(np.nanmean(iou)), 2) if np.isfinite(iou).any() else None,
        'IoU': [None if np.isnan(v) else round(100 * float(v), 2) for v in iou],
    }


def pack_counts(counts: np.ndarray) -> dict[str, Any]:
    """Whole numbers as JSON, small where most are zero.

    >>> unpack_counts(pack_counts(np.array([[0, 7]]))).tolist()
    [[0, 7]]
    """
    data = zlib.compress(np.ascontiguousarray(counts, np.int64).tobytes())
    return {'shape': list(counts.shape), 'data': base64.b64encode(data).decode()}


def unpack_counts(packed: dict[str, Any]) -> np.ndarray:
    """What :func:`pack_counts` packed."""
    data = zlib.decompress(base64.b64decode(packed['data']))
    return np.frombuffer(data, np.int64).reshape(packed['shape']).copy()


class ScoreStage(PerImageStage):
    """A per-image stage that writes :class:`ImageMaps` with a background, and measures them against true masks."""

    MEASURES = True

    def predicted(self, ctx: Context, key: str) -> np.ndarray:
        """(H, W) classes of one image."""
        return label_map(ImageMaps.load(self.output(ctx, key)), ctx.data.num_classes + 1)

    def measure(self, ctx: Context, keys: Sequence[str]) -> dict[str, Any]:
        classes = ctx.data.num_classes + 1
        total, measured = np.zeros((classes, classes), np.int64), 0
        for key in keys:
            try:
                predicted = self.predicted(ctx, key)
                truth = self.data(ctx).mask(key, predicted.shape)
            except ValueError as error:
                logger.warning('%s: not measured: %s', self.name, error)
                continue
            if truth is not None:
                total += confusion_matrix(predicted, truth, classes)
                measured += 1
        return {'counts': pack_counts(total), 'measured': measured}

    def summarise(self, ctx: Context, shares: list[Any]) -> dict[str, Any]:
        measured = sum(share['measured'] for share in shares)
        if not measured:
            return {'mIoU': None}
        return {**iou_figures(sum(unpack_counts(share['counts']) for share in shares)), 'measured': measured}
