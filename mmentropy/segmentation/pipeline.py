# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From image labels to a tested segmenter: the stages in order, a manifest, and what makes a second start cheap."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict

from mmentropy import __version__
from mmentropy.datasets.preparing.voc_export import export_voc
from mmentropy.datasets.sources import VOCFolder, build_source
from mmentropy.engine.startup import load_config
from mmentropy.processes import one_owner
from mmentropy.registry import STAGES
from mmentropy.safe_files import remove_partial, write_whole

from .digests import Digests, differing, digest_of
from .records import MARK, StageRecord, read_json, write_json
from .stage import ATTEMPT, SHARES, Context, PerImageStage, Stage, first_does
from .training import Training

logger = logging.getLogger(__name__)
#: What ``--cfg-options`` may set in a pipeline config beside what it names; see ``mmentropy.engine.config_options``.
PIPELINE_GROUPS = {
    'data': (VOCFolder, ('partshapes',)),
    'data.partshapes': (export_voc,),
    'stages.*.options*': (dict,),  # keys of the stage's own config, checked when that is read
}
MANIFEST = 'manifest.json'
#: A folder with such files holds work that must not be mixed.
OUTPUTS = ('.npz', '.png', '.pth')
#: ``<base>@<branch>``: a work dir that takes from its base what is the same.
BRANCH = '@'
LOCK = '.lock'
#: Seconds to wait for another process of the run that looks through a folder.
WAIT = 600.0
#: What there is to do in a stage.
NOTHING, MEASURE, EVERYTHING = 'nothing', 'measure', 'everything'
#: Fields of a stage's record that the manifest has, too.
TOLD = ('hash', 'stage', 'settings', 'inputs', 'seconds', 'version', 'result')


def list_stages(stages: Mapping[str, dict[str, Any]] | Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Settings of the stages in order, each with its ``name``.

    Args:
        stages: dict name → settings, which a config that inherits changes by name; or a list of settings.

    Raises:
        ValueError: for settings without a ``type``, or whose ``name`` is not the one that they stand under.

    >>> list_stages({'seed': {'type': 'Seed', 'background': 'entropy'}})
    [{'name': 'seed', 'type': 'Seed', 'background': 'entropy'}]
    """
    if not isinstance(stages, Mapping):
        return [dict(settings) for settings in stages]
    for name, settings in stages.items():
        if not isinstance(settings, Mapping) or 'type' not in settings:
            raise ValueError(
                f'stage {name!r} has no type; there are {", ".join(stages)}: to change one of the base, use its name'
            )
        if settings.get('name', name) != name:
            raise ValueError(f'stage {name!r} calls itself {settings["name"]!r}; leave its name out')
    return [{'name': name, **settings} for name, settings in stages.items()]


class SeedPipeline:
    """Runs stages in order and keeps ``manifest.json``.

    Each stage has a folder with its outputs and ``stage.json``: the hash of its settings and its sources', hashes of
    what it was made from, image by image, and of its outputs. A stage is skipped while all of them hold. Where an
    image, a label, a true mask or weights have changed, what depends on them is done again, and so is what failed; a
    training says so and asks. A folder with outputs of *other* settings is refused, unless they are to be redone.

    A work dir ``x@name`` is a branch: it takes from ``x`` what is the same there, and writes nothing to it.

    Args:
        stages: settings of stages by their names, in order, or a list of them; ``source`` is the stage before where it
            is left out.
        ctx: where and on what.

    Raises:
        ValueError: for a name that two stages have, a source that is no stage before, a stage without a ``type``.

    >>> stages = dict(maps=dict(type='ForeignMaps'), seed=dict(type='Seed'), masks=dict(type='PseudoMasks'))
    >>> from mmentropy.datasets.sources import VOCFolder
    >>> pipeline = SeedPipeline(stages, Context(Path('work'), VOCFolder('VOC2012')))
    >>> [(stage.name, stage.source) for stage in pipeline.stages]
    [('maps', None), ('seed', 'maps'), ('masks', 'seed')]
    """

    def __init__(self, stages: Mapping[str, dict[str, Any]] | Sequence[dict[str, Any]], ctx: Context) -> None:
        self.ctx, self.started = ctx, time.time()
        self.stages: list[Stage] = []
        self.settings: dict[str, dict[str, Any]] = {}
        for number, settings in enumerate(list_stages(stages)):
            if number and 'source' not in settings:
                settings['source'] = self.stages[-1].name
            stage = STAGES.build(dict(settings))
            if stage.name in self.settings:
                raise ValueError(f'two stages are called {stage.name!r}; give one of them another name')
            for needed in stage.needs:
                if needed not in self.settings:
                    raise ValueError(f'stage {stage.name!r} reads from {needed!r}, which is no stage before it')
            self.stages.append(stage)
            self.settings[stage.name] = settings

    @classmethod
    def from_config(
        cls,
        path: str | Path,
        work_dir: str | Path | None = None,
        options: dict | None = None,
        seed: int | None = None,
        **context: Any,
    ) -> SeedPipeline:
        """Build from a pipeline config (``data`` and ``stages``).

        Args:
            path: of the config; configs of training stages are relative to its folder.
            work_dir: ``work_dirs/voc/<name of the config>`` by default.
            options: keys to override.
            seed: of the random numbers of every training; None leaves that to their configs.
            **context: further fields of :class:`Context`.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f'pipeline config {path} does not exist; they are under configs/voc/')
        cfg = load_config(str(path), options, PIPELINE_GROUPS)
        if 'stages' not in cfg or 'data' not in cfg:
            raise ValueError(
                f"{path}: a pipeline config has 'data' and 'stages'; for one training run use tools/train.py"
            )
        stages = []
        for settings in list_stages(_plain(cfg.stages)):
            if settings.get('config') and not Path(settings['config']).is_absolute():
                settings['config'] = str((path.parent / settings['config']).resolve())
            if seed is not None and issubclass(STAGES.get(settings['type']) or Stage, Training):
                settings['options'] = {**(settings.get('options') or {}), 'randomness.seed': seed}
            stages.append(settings)
        data = _plain(cfg.data)
        drawn = data.pop('partshapes', None)
        folder = Path(work_dir or Path('work_dirs/voc') / path.stem)
        if drawn is not None:
            data.setdefault('root', str((base_of(folder) or folder) / 'VOC2012'))
        context.setdefault('digests', Digests(folder / 'digests.json'))
        pipeline = cls(stages, Context(folder, build_source(data), **context))
        pipeline.drawn = drawn
        return pipeline

    #: Options of :func:`~mmentropy.datasets.preparing.voc_export.export_voc` for scenes that are drawn first, or None.
    drawn: dict[str, Any] | None = None

    def hash(self, name: str) -> str:
        """Of a stage's settings, its sources' hashes, and which data."""
        stage = self.stage(name)
        settings = {k: v for k, v in self.settings[name].items() if k != 'config'}
        content = {
            'settings': settings,
            'fingerprint': stage.fingerprint(self.ctx),
            'sources': {needed: self.hash(needed) for needed in stage.needs},
            'data': [*self.ctx.data.identity(), self.drawn],
        }
        return digest_of(content)

    def stage(self, name: str) -> Stage:
        """A stage by name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ValueError(f'no stage {name!r}; this pipeline has {", ".join(s.name for s in self.stages)}')

    def chosen(self, only: Sequence[str] | None = None, start: str | None = None) -> list[Stage]:
        """The stages to run: those named, or all from one on.

        Raises:
            ValueError: for a name that there is not.
        """
        if only:
            names = {self.stage(name).name for name in only}
            return [stage for stage in self.stages if stage.name in names]
        first = self.stages.index(self.stage(start)) if start else 0
        return self.stages[first:]

    def with_readers(self, names: Iterable[str]) -> set[str]:
        """These stages, and all that read from them, directly or not."""
        found = {self.stage(name).name for name in names}
        for stage in self.stages:
            if found & set(stage.needs):
                found.add(stage.name)
        return found

    def record(self, stage: Stage) -> StageRecord:
        """What the stage has written down; raises as :meth:`StageRecord.load`."""
        return StageRecord.load(self.ctx.folder(stage.name))

    def is_finished(self, stage: Stage) -> bool:
        """Whether the stage was finished with these settings on these inputs, whatever became of its files since."""
        record = self.record(stage)
        if not record.finished or record.failures or record.hash != self.hash(stage.name):
            return False
        return not self.inputs_changed(stage, record)

    def inputs_changed(self, stage: Stage, record: StageRecord) -> list[str]:
        """What the stage was made from and has changed since, is new, or is gone; empty for an unbegun stage."""
        if not record.hash:
            return []
        return differing(record.depends, stage.depends(self.ctx)) + differing(record.images, self.image_digests(stage))

    def image_digests(self, stage: Stage) -> dict[str, str]:
        """Image → hash of what the stage makes its output from; empty for a stage that is not per image."""
        if not isinstance(stage, PerImageStage):
            return {}
        return {key: stage.image_digest(self.ctx, key) for key in stage.ids(self.ctx)}

    def changed_files(self, stage: Stage) -> list[Path]:
        """The outputs of a finished stage that are missing, or not as they were then."""
        folder, files = self.ctx.folder(stage.name), self.record(stage).files
        return [folder / name for name, value in files.items() if self.ctx.digests.of(folder / name) != value]

    def run(
        self,
        only: Sequence[str] | None = None,
        start: str | None = None,
        redo: Sequence[str] = (),
        keep: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Run what is not finished yet; returns the manifest.

        Args:
            only: names of stages.
            start: name of the first stage.
            redo: stages to make anew, and with them those that read from them where that changes something.
            keep: stages whose outputs are taken as they are, whatever they were made with.

        Raises:
            ValueError: if a folder holds outputs of other settings, or a needed stage has not run.
        """
        stages = self.chosen(only, start)
        for name in keep:
            self.stage(name)
        may_go = self.with_readers(redo)
        self.ctx.work_dir.mkdir(parents=True, exist_ok=True)
        with _hold(self.ctx):
            self._check_manifest()
            self.draw()
            if not self.ctx.data.has_truth and self.ctx.workers.is_first:
                logger.info('the data has no true masks: nothing is measured')
            if self.ctx.alone:
                remove_partial(self.ctx.work_dir)
            for stage in self.stages:
                # Upstream stages, too: the folders of those that are not run are read.
                self._take_from_base(stage, stage.name in may_go)
                if stage in stages:
                    self._run_stage(stage, stage.name in redo, stage.name in may_go, stage.name in keep)
                    self.ctx.digests.save()
            manifest = self.manifest()
            if self.ctx.workers.is_first and read_json(self.ctx.work_dir / MANIFEST) != _as_json(manifest):
                write_json(self.ctx.work_dir / MANIFEST, manifest)
            return manifest

    def _check_manifest(self) -> None:
        content = read_json(self.ctx.work_dir / MANIFEST)
        stages = content.get('stages', [])
        if not isinstance(stages, list) or not all(isinstance(one, dict) and 'stage' in one for one in stages):
            raise ValueError(f'{self.ctx.work_dir / MANIFEST} is no manifest of stages; remove it, it is written anew')

    def draw(self) -> None:
        """Draw the scenes of a config that has them; one process does, and draws what is missing."""
        if self.drawn is None:
            return
        root = Path(self.ctx.data.root)
        root.parent.mkdir(parents=True, exist_ok=True)
        with one_owner(root.parent / '.drawing', 'run', 'wait until it has drawn the scenes', patience=WAIT):
            export_voc(root, **self.drawn)

    def _take_from_base(self, stage: Stage, own: bool) -> None:
        """In a branch: read the stage from the base where it is finished there with the same settings and inputs."""
        if self.base is None or own or self.record(stage).hash:
            return
        places = dict(self.ctx.places)
        self.ctx.places[stage.name] = self.base / stage.name
        if not self.is_finished(stage) or self.changed_files(stage):
            self.ctx.places = places

    @property
    def base(self) -> Path | None:
        """The work dir that this one is a branch of, if it is one."""
        return base_of(self.ctx.work_dir)

    def _run_stage(self, stage: Stage, redo: bool, may_go: bool, keep: bool) -> None:
        if stage.name in self.ctx.places:
            logger.info('%s: taken from %s', stage.name, self.ctx.folder(stage.name))
            return
        for needed in stage.needs:
            if not self.record(self.stage(needed)).finished:
                raise ValueError(f'{stage.name}: the stage {needed!r} before it has not finished; run it first')
        folder = self.ctx.folder(stage.name)
        folder.mkdir(parents=True, exist_ok=True)
        with one_owner(folder / '.preparing', 'run', 'start again', patience=WAIT):
            if keep:
                self._keep(stage)
            todo = self._prepare(stage, redo, may_go)
        if todo == NOTHING:
            logger.info('%s: finished before, skipped', stage.name)
            return
        began = time.time()
        if todo == MEASURE:
            logger.info('%s: the true masks have changed; measured again', stage.name)
            result = {**self.record(stage).result, **stage.evaluate(self.ctx)}
        else:
            result = stage.run(self.ctx)
        seconds = round(time.time() - began, 1)
        first_does(self.ctx, stage, 'record', lambda: self._write_down(stage, result, seconds, todo))
        logger.info(
            '%s: %s in %.0f s', stage.name, {k: v for k, v in result.items() if k not in ('IoU', 'failures')}, seconds
        )

    def _write_down(self, stage: Stage, result: dict[str, Any], seconds: float, todo: str) -> None:
        """The record of a stage that has come to its end, and the manifest."""
        record, folder = self.record(stage), self.ctx.folder(stage.name)
        record.files = {
            path.relative_to(folder).as_posix(): self.ctx.digests.of(path) for path in stage.outputs(self.ctx)
        }
        record.result = {key: value for key, value in result.items() if key != 'failures'}
        if todo != MEASURE:
            record.failures, record.seconds = result.get('failures', {}), seconds
        record.measured = stage.measured_on(self.ctx)
        record.stage, record.inputs, record.version = stage.name, stage.needs, __version__
        record.save(folder)
        write_json(self.ctx.work_dir / MANIFEST, self.manifest())

    def _prepare(self, stage: Stage, redo: bool, may_go: bool) -> str:
        """Decide what there is to do, and remove what does not hold any more; written down before anything is made."""
        folder, record, settings_hash = self.ctx.folder(stage.name), self.record(stage), self.hash(stage.name)
        theirs = self._of_this_run(folder)
        if redo and not theirs and (record.finished or record.hash != settings_hash):
            stage.clear(self.ctx)
            record = StageRecord()
        if record.hash not in ('', settings_hash) and any(p.suffix in OUTPUTS for p in folder.rglob('*')):
            if not may_go:
                raise ValueError(self._other_settings(stage, record, settings_hash))
            stage.clear(self.ctx)
            record = StageRecord()
        if isinstance(stage, Training) and self._trained_on_what(stage, record) and not may_go:
            raise ValueError(
                f'{folder}: {_list(self._trained_on_what(stage, record))} changed since it was trained; '
                f'--redo {stage.name} trains anew, --keep {stage.name} takes what was trained'
            )
        depends, images = stage.depends(self.ctx), self.image_digests(stage)
        said = self._remove_stale(stage, record, depends, images)
        if record.hash == settings_hash and record.finished and not said:
            if theirs or not record.failures:
                return MEASURE if record.measured != stage.measured_on(self.ctx) else NOTHING
            said = [f'{_count(len(record.failures), "image")} failed before']
        for one in said:
            logger.warning('%s: %s', stage.name, one)
        if said or record.hash != settings_hash or not (folder / ATTEMPT).is_file():
            write_whole(folder / ATTEMPT, uuid.uuid4().hex)
        if self.ctx.alone:
            shutil.rmtree(folder / SHARES, ignore_errors=True)
        # The hash goes first: a kill from here on leaves a folder that says what its outputs are made with, and from.
        settings = self.settings[stage.name]
        StageRecord(settings_hash, depends, images, stage=stage.name, settings=settings, inputs=stage.needs).save(
            folder
        )
        return EVERYTHING

    def _of_this_run(self, folder: Path) -> bool:
        """Whether another process of this run has written the record since we started."""
        path = folder / MARK
        return not self.ctx.alone and path.is_file() and path.stat().st_mtime >= self.started

    def _trained_on_what(self, stage: Stage, record: StageRecord) -> list[str]:
        """What has changed since a training began, or that nothing is known of it."""
        if not any(self.ctx.folder(stage.name).glob('*.pth')):
            return []
        return differing(record.depends, stage.depends(self.ctx)) if record.hash else ['unknown settings or data']

    def _remove_stale(
        self, stage: Stage, record: StageRecord, depends: dict[str, str], images: dict[str, str]
    ) -> list[str]:
        """Remove outputs that were made from something else, or have changed; says what and why, a sentence each."""
        said = []
        if not record.hash:
            if stage.outputs(self.ctx):
                stage.clear(self.ctx)
                said.append('what its files were made from is not written down; all is made again')
        elif changed := differing(record.depends, depends):
            stage.clear(self.ctx)
            said.append(f'{_list(changed)} changed since; all is made again')
        elif isinstance(stage, PerImageStage):
            new = [key for key in images if key not in record.images]
            gone = [key for key in record.images if key not in images]
            other = [key for key in record.images if key in images and images[key] != record.images[key]]
            for key in new + other:
                stage.output(self.ctx, key).unlink(missing_ok=True)
            for keys, what in ((new, 'new'), (gone, 'no longer there'), (other, 'changed since')):
                if keys:
                    said.append(f'{_count(len(keys), "image")} {what} ({_list(keys)})')
        folder = self.ctx.folder(stage.name)
        for path in stage.outputs(self.ctx) if record.finished else ():
            if record.files.get(path.relative_to(folder).as_posix()) not in (None, self.ctx.digests.of(path)):
                path.unlink()
                said.append(f'{path} has changed; it is made again')
        there = {path.relative_to(folder).as_posix() for path in stage.outputs(self.ctx)}
        if not said and (lost := sorted(set(record.files) - there)):
            said.append(f'{_count(len(lost), "file")} missing ({_list(lost)}); made again')
        return said

    def _other_settings(self, stage: Stage, record: StageRecord, settings_hash: str) -> str:
        before, now = record.settings, self.settings[stage.name]
        names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        told = [f'{name} was {before.get(name)!r}, is {now.get(name)!r}' for name in names]
        return (
            f'{self.ctx.folder(stage.name)}: holds outputs of other settings ({record.hash}, now {settings_hash}: '
            f'{"; ".join(told) or "a stage before it, its config or the data"}); --redo {stage.name} makes it and what '
            f'reads from it anew, --branch NAME keeps both; or take another --work-dir'
        )

    def _keep(self, stage: Stage) -> None:
        """Take the stage's outputs as those of the present settings and inputs."""
        record, folder = self.record(stage), self.ctx.folder(stage.name)
        if not stage.outputs(self.ctx):
            raise ValueError(f'{folder}: nothing to keep; run the stage {stage.name!r}')
        record.hash, record.settings = self.hash(stage.name), self.settings[stage.name]
        record.depends, record.images = stage.depends(self.ctx), self.image_digests(stage)
        if record.finished:
            files = stage.outputs(self.ctx)
            record.files = {path.relative_to(folder).as_posix(): self.ctx.digests.of(path) for path in files}
        record.save(folder)

    def manifest(self) -> dict[str, Any]:
        """What each stage noted: settings, hash, inputs, number and hash of outputs, mIoU, seconds, version."""
        entries = []
        for stage in self.stages:
            record = self.record(stage)
            if record.finished:
                outputs = {'count': len(record.files), 'digest': digest_of(record.files)}
                told = {name: getattr(record, name) for name in TOLD}
                place = {'place': str(self.ctx.folder(stage.name))} if stage.name in self.ctx.places else {}
                entries.append({**told, **place, 'failed': len(record.failures), 'outputs': outputs})
        return {'version': __version__, 'data': self.ctx.data.settings() | {'drawn': self.drawn}, 'stages': entries}

    def plan(self, only: Sequence[str] | None = None, start: str | None = None) -> list[dict[str, Any]]:
        """What :meth:`run` would do: stage, images, estimated seconds and bytes, and whether it is finished already."""
        rows = []
        unfinished: set[str] = set()
        for stage in self.chosen(only, start):
            done = self.is_finished(stage) and not unfinished & set(stage.needs)
            unfinished |= set() if done else {stage.name}
            try:
                images, seconds, size = stage.plan(self.ctx)
            except FileNotFoundError:  # scenes that are drawn first
                images = (self.drawn or {}).get('train', 0)
                seconds, size = images * stage.SECONDS, images * stage.BYTES
            earlier = self.record(stage).seconds
            rows.append(
                {
                    'stage': stage.name,
                    'type': type(stage).__name__,
                    'reads': stage.needs,
                    'images': images,
                    'seconds': 0 if done else (earlier or round(seconds)),
                    'bytes': 0 if done else size,
                    'finished': done,
                }
            )
        return rows


def _plain(value: Any) -> Any:
    """Configs' dicts and lists as plain ones, which hash and pickle."""
    if isinstance(value, ConfigDict | dict):
        return {key: _plain(item) for key, item in value.items() if key != '_delete_'}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _count(number: int, what: str) -> str:
    return f'{number} {what}' if number == 1 else f'{number} {what}s'


def _list(names: Sequence[str], most: int = 3) -> str:
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')


def base_of(work_dir: Path) -> Path | None:
    """``x`` of ``x@branch``.

    >>> base_of(Path('work_dirs/voc/x@crf-b')).as_posix()
    'work_dirs/voc/x'
    """
    base, mark, branch = work_dir.name.partition(BRANCH)
    return work_dir.with_name(base) if base and mark and branch else None


@contextmanager
def _hold(ctx: Context) -> Iterator[None]:
    """One run works in a folder, or the shards of one: each of those once."""
    if ctx.alone:
        with one_owner(ctx.work_dir / LOCK, 'run', 'wait, or take another --work-dir'):
            yield
        return
    mine = f'{LOCK}-{ctx.workers.rank}-of-{ctx.workers.world}'
    with _shared(ctx.work_dir / LOCK), one_owner(ctx.work_dir / mine, 'run as this shard', 'wait for it to end'):
        yield


@contextmanager
def _shared(path: Path) -> Iterator[None]:
    """Hold a lock together with others of this run."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f'{path.parent}: another run, without shards, works in this folder; wait, or take another --work-dir'
            ) from None
        yield
    finally:
        os.close(file)


def print_plan(rows: list[dict[str, Any]]) -> None:
    """The plan as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table('stage', 'type', 'reads', 'images', 'time', 'disk', 'known by')
    for row in rows:
        span = 'finished' if row['finished'] else f'{row["seconds"] / 60:.1f} min'
        known = 'a run' if row['finished'] else 'measuring' if row.get('measured') else 'guess'
        reads, disk = ', '.join(row['reads']), f'{row["bytes"] / 1e6:.1f} MB'
        table.add_row(row['stage'], row['type'], reads, str(row['images']), span, disk, known)
    Console().print(table)
    seconds, size = sum(row['seconds'] for row in rows), sum(row['bytes'] for row in rows)
    print(f'in all about {seconds / 60:.0f} min and {size / 1e6:.0f} MB')


def print_results(manifest: dict[str, Any]) -> None:
    """Each stage's mIoU and time."""
    from rich.console import Console
    from rich.table import Table

    table = Table('stage', 'mIoU %', 'best mIoU %', 'images', 'failed', 'seconds')
    for entry in manifest['stages']:
        result = entry['result']
        cells = [result.get(key) for key in ('mIoU', 'best_mIoU', 'images', 'failed')]
        table.add_row(entry['stage'], *('' if cell is None else str(cell) for cell in cells), str(entry['seconds']))
    Console().print(table)
