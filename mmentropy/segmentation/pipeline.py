# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From image labels to a tested segmenter: the stages in order, a manifest, and what makes a second start cheap."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict

from mmentropy import __version__
from mmentropy.datasets.preparing.voc_export import export_voc
from mmentropy.engine.startup import load_config
from mmentropy.registry import STAGES
from mmentropy.safe_files import load_json, remove_partial, write_whole

from .stage import Context, Stage
from .voc_folder import VOCFolder

logger = logging.getLogger(__name__)
#: What ``--cfg-options`` may set in a pipeline config beside what it names; see ``mmentropy.engine.config_options``.
PIPELINE_GROUPS = {
    'data': (VOCFolder, ('partshapes',)),
    'data.partshapes': (export_voc,),
    'stages.*.options*': (dict,),  # keys of the stage's own config, checked when that is read
}
MANIFEST = 'manifest.json'
MARK = 'stage.json'
#: A folder with such files holds work that must not be mixed.
OUTPUTS = ('.npz', '.png', '.pth')


def digest(path: Path) -> str:
    """Hash of a file's content."""
    blake = hashlib.blake2b(digest_size=12)
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            blake.update(chunk)
    return blake.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is no such file.

    Raises:
        ValueError: if it cannot be read.
    """
    return load_json(path, 'remove it, and its stage is checked again') if path.is_file() else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write it whole, readable."""
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False).encode())


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

    Each stage has a folder with its outputs and ``stage.json`` (hash of its settings, of its sources' and of the data).
    A stage is skipped while hash and outputs are intact; a folder with outputs of *other* settings is refused.

    Args:
        stages: settings of stages by their names, in order, or a list of them; ``source`` is the stage before where it
            is left out.
        ctx: where and on what.

    Raises:
        ValueError: for a name that two stages have, a source that is no stage before, a stage without a ``type``.

    >>> stages = dict(maps=dict(type='ForeignMaps'), seed=dict(type='Seed'), masks=dict(type='PseudoMasks'))
    >>> pipeline = SeedPipeline(stages, Context(Path('work'), VOCFolder('VOC2012')))
    >>> [(stage.name, stage.source) for stage in pipeline.stages]
    [('maps', None), ('seed', 'maps'), ('masks', 'seed')]
    """

    def __init__(self, stages: Mapping[str, dict[str, Any]] | Sequence[dict[str, Any]], ctx: Context) -> None:
        self.ctx = ctx
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
        cls, path: str | Path, work_dir: str | Path | None = None, options: dict | None = None, **context: Any
    ) -> SeedPipeline:
        """Build from a pipeline config (``data`` and ``stages``).

        Args:
            path: of the config; configs of training stages are relative to its folder.
            work_dir: ``work_dirs/voc/<name of the config>`` by default.
            options: keys to override.
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
            stages.append(settings)
        data = _plain(cfg.data)
        drawn = data.pop('partshapes', None)
        folder = Path(work_dir or Path('work_dirs/voc') / path.stem)
        if drawn is not None:
            data.setdefault('root', str(folder / 'VOC2012'))
        pipeline = cls(stages, Context(folder, VOCFolder(**data), **context))
        pipeline.drawn = drawn
        return pipeline

    #: Options of :func:`~mmentropy.datasets.preparing.voc_export.export_voc` for scenes that are drawn first, or None.
    drawn: dict[str, Any] | None = None

    def hash(self, name: str) -> str:
        """Of a stage's settings, its sources' hashes, and the data."""
        stage = self.stage(name)
        settings = {k: v for k, v in self.settings[name].items() if k != 'config'}
        data = self.ctx.data
        content = {
            'settings': settings,
            'fingerprint': stage.fingerprint(self.ctx),
            'sources': {needed: self.hash(needed) for needed in stage.needs},
            'data': [data.split, data.num_classes, data.limit, self.drawn],
        }
        return hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()

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

    def is_finished(self, stage: Stage) -> bool:
        """Whether the stage was finished with these settings, whatever has become of its files since."""
        mark = read_json(self.ctx.folder(stage.name) / MARK)
        return bool(mark.get('files')) and mark.get('hash') == self.hash(stage.name)

    def changed_files(self, stage: Stage) -> list[Path]:
        """The outputs of a finished stage that are missing, or not as they were then."""
        folder = self.ctx.folder(stage.name)
        files = read_json(folder / MARK).get('files', {})
        return [path for name, value in files.items() if not (path := folder / name).is_file() or digest(path) != value]

    def remove_changed(self, stage: Stage) -> list[Path]:
        """Remove a finished stage's changed outputs, so that it makes them again; returns those and the missing."""
        changed = self.changed_files(stage)
        for path in changed:
            logger.warning('%s: %s is missing or has changed; it is made again', stage.name, path)
            path.unlink(missing_ok=True)
        return changed

    def run(self, only: Sequence[str] | None = None, start: str | None = None) -> dict[str, Any]:
        """Run what is not finished yet; returns the manifest.

        Args:
            only: names of stages.
            start: name of the first stage.

        Raises:
            ValueError: if a folder holds outputs of other settings, or a needed stage has not run.
        """
        stages = self.chosen(only, start)
        self.ctx.work_dir.mkdir(parents=True, exist_ok=True)
        with _only_one(self.ctx):
            if self.drawn is not None:
                export_voc(self.ctx.data.root, **self.drawn)
            for stage in stages:
                self._run_stage(stage)
            return self.manifest()

    def _run_stage(self, stage: Stage) -> None:
        folder = self.ctx.folder(stage.name)
        folder.mkdir(parents=True, exist_ok=True)
        remove_partial(self.ctx.work_dir)
        settings_hash = self.hash(stage.name)
        marked = read_json(folder / MARK).get('hash')
        if marked not in (None, settings_hash) and any(p.suffix in OUTPUTS for p in folder.rglob('*')):
            raise ValueError(
                f'{folder}: holds outputs of other settings ({marked}, now {settings_hash}); '
                'take another --work-dir, or remove this folder and those after it'
            )
        for needed in stage.needs:
            if not read_json(self.ctx.folder(needed) / MARK).get('files'):
                raise ValueError(f'{stage.name}: the stage {needed!r} before it has not finished; run it first')
        if self.is_finished(stage) and not self.remove_changed(stage):
            logger.info('%s: finished before, skipped', stage.name)
            return
        # The hash goes first: a kill from here on leaves a folder that says whose outputs it holds.
        write_json(folder / MARK, {'hash': settings_hash})
        began = time.time()
        result = stage.run(self.ctx)
        if self.ctx.shard[1] > 1:
            return  # one shard is not the stage; a run without --shard finishes it
        files = {str(path.relative_to(folder)): digest(path) for path in stage.outputs(self.ctx)}
        seconds = round(time.time() - began, 1)
        entry = {
            'hash': settings_hash,
            'stage': stage.name,
            'settings': self.settings[stage.name],
            'inputs': stage.needs,
        }
        entry |= {'seconds': seconds, 'version': __version__, 'result': result, 'files': files}
        write_json(folder / MARK, entry)
        write_json(self.ctx.work_dir / MANIFEST, self.manifest())
        logger.info('%s: %s in %.0f s', stage.name, {k: v for k, v in result.items() if k != 'IoU'}, seconds)

    def manifest(self) -> dict[str, Any]:
        """What each stage noted: settings, hash, inputs, number and hash of outputs, mIoU, seconds, version."""
        entries = []
        for stage in self.stages:
            mark = read_json(self.ctx.folder(stage.name) / MARK)
            if mark.get('files'):
                files = mark.pop('files')
                outputs = {
                    'count': len(files),
                    'digest': hashlib.blake2b(str(files).encode(), digest_size=12).hexdigest(),
                }
                entries.append({**mark, 'outputs': outputs})
        return {'version': __version__, 'data': vars(self.ctx.data) | {'drawn': self.drawn}, 'stages': entries}

    def plan(self, only: Sequence[str] | None = None, start: str | None = None) -> list[dict[str, Any]]:
        """What :meth:`run` would do: stage, images, estimated seconds and bytes, and whether it is finished already."""
        rows = []
        for stage in self.chosen(only, start):
            done = self.is_finished(stage)
            try:
                images, seconds, size = stage.plan(self.ctx)
            except FileNotFoundError:  # scenes that are drawn first
                images = (self.drawn or {}).get('train', 0)
                seconds, size = images * stage.SECONDS, images * stage.BYTES
            earlier = read_json(self.ctx.folder(stage.name) / MARK).get('seconds')
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
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


@contextmanager
def _only_one(ctx: Context) -> Any:
    """Two runs on one folder would tread on each other; shards are meant to."""
    if ctx.shard[1] > 1:
        yield
        return
    with open(ctx.work_dir / '.lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f'{ctx.work_dir}: another run works in this folder; wait, or take another --work-dir'
            ) from None
        yield


def print_plan(rows: list[dict[str, Any]]) -> None:
    """The plan as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table('stage', 'type', 'reads', 'images', 'estimated time', 'estimated disk')
    for row in rows:
        span = 'finished' if row['finished'] else f'{row["seconds"] / 60:.1f} min'
        table.add_row(
            row['stage'], row['type'], ', '.join(row['reads']), str(row['images']), span, f'{row["bytes"] / 1e6:.1f} MB'
        )
    Console().print(table)
    seconds, size = sum(row['seconds'] for row in rows), sum(row['bytes'] for row in rows)
    print(
        f'in all about {seconds / 60:.0f} min and {size / 1e6:.0f} MB; measured times replace the guesses after a run'
    )


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
