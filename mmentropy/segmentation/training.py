# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Stages that train: the classifier, the affinity, the segmenter. Each is one config of its host, run to the end."""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import sys
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from torch import nn

from mmentropy.engine import load_config, trust_checkpoints
from mmentropy.engine.checkpoint import latest_whole
from mmentropy.processes import run_group
from mmentropy.registry import STAGES
from mmentropy.safe_files import write_whole

from .digests import digest_of
from .fit_config import fit_classifier, fit_segmenter
from .stage import Context, Stage, first_does

logger = logging.getLogger(__name__)


def load_host_model(folder: Path, device: str) -> nn.Module:
    """The model that a training stage left in its folder, in evaluation mode."""
    from mmentropy.engine.model_loading import load_model

    return load_model(str(folder / 'config.py'), folder / 'model.pth', device).model


class Training(Stage):
    """Runs a host's config in a process of its own, resuming from its last whole checkpoint.

    What that is, :func:`~mmentropy.engine.startup.choose_checkpoint` says for every run; nothing is removed.

    The folder then holds ``config.py`` (everything that decided the run) and ``model.pth`` (weights only).

    Args:
        name: see :class:`Stage`.
        config: path of the config, relative to the pipeline's config or absolute.
        options: keys of the config to override, ``{'train_cfg.max_epochs': 5}``.
        source: see :class:`Stage`.
        processes: that train together, one a GPU, gloo without; they share the config's batch out.
        launcher: what starts several: ``torchrun``, on this machine, or ``slurm``, which lays them on the nodes of the
            allocation (``srun``; the variable ``SRUN_ARGS`` adds words to it).

    Raises:
        ValueError: for less than one process, or another launcher.
    """

    SECONDS, BYTES = 2.0, 100_000

    def __init__(
        self,
        name: str,
        config: str,
        options: dict[str, Any] | None = None,
        source: str | None = None,
        processes: int = 1,
        launcher: str = 'torchrun',
    ) -> None:
        super().__init__(name, source)
        if launcher not in LAUNCHERS:
            raise ValueError(f'{name}: launcher is one of {", ".join(LAUNCHERS)}, got {launcher!r}')
        if processes < 1:
            raise ValueError(f'{name}: processes is how many train together, at least 1, got {processes}')
        self.config, self.options, self.processes, self.launcher = config, options or {}, processes, launcher

    @abstractmethod
    def adapt(self, cfg: Config, ctx: Context) -> None:
        """Point the config at the run's data."""

    def build(self, ctx: Context) -> Config:
        """The complete config."""
        if not Path(self.config).is_file():
            raise FileNotFoundError(f'{self.name}: config {self.config} does not exist')
        cfg = load_config(self.config, self.options)
        self.adapt(cfg, ctx)
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
        cfg.work_dir = str(ctx.folder(self.name).resolve())
        cfg.resume = True
        seed_by_epoch(cfg)
        self.share_batch(cfg)
        return cfg

    def share_batch(self, cfg: Config) -> None:
        """Let several processes take a step on as many images as one would.

        Raises:
            ValueError: for a batch that they cannot share.
        """
        if self.processes == 1:
            return
        batch = cfg.train_dataloader.batch_size
        if batch % self.processes:
            raise ValueError(
                f'{self.name}: {self.processes} processes cannot share a batch of {batch} images evenly; '
                'set train_dataloader.batch_size in its options'
            )
        cfg.train_dataloader.batch_size, cfg.launcher = batch // self.processes, LAUNCHERS[self.launcher]

    def fingerprint(self, ctx: Context) -> str:
        # Where the run lies must not matter to what it is.
        text = self.build(ctx).pretty_text
        places = {Path(ctx.data.root).resolve(): 'DATA'}
        places |= {ctx.folder(name).resolve(): f'WORK/{name}' for name in (*self.needs, self.name)}
        for place, name in places.items():
            text = text.replace(str(place), name)
        return text

    def depends(self, ctx: Context) -> dict[str, str]:
        keys = ctx.data.ids()
        found = {'the list of images': digest_of(keys)}
        found['the images'] = ctx.digests.of_all(map(ctx.data.image_path, keys))
        found['the labels'] = digest_of([ctx.digests.of_any(ctx.data.labels_from(key)) for key in keys])
        cfg = self.build(ctx)
        weights = [cfg.get('load_from'), *checkpoints_of(cfg.model)]
        own = {str(ctx.folder(needed).resolve() / 'model.pth') for needed in self.needs}
        for path in weights:
            if path and path not in own and Path(path).is_file():
                found[str(path)] = ctx.digests.of(Path(path))
        return {**super().depends(ctx), **found}

    def outputs(self, ctx: Context) -> list[Path]:
        return [path for name in ('config.py', 'model.pth') if (path := ctx.folder(self.name) / name).is_file()]

    def clear(self, ctx: Context) -> None:
        super().clear(ctx)
        for pattern in ('*.pth', 'last_checkpoint'):
            for path in ctx.folder(self.name).glob(pattern):
                path.unlink(missing_ok=True)

    def run(self, ctx: Context) -> dict[str, Any]:
        return first_does(ctx, self, 'train', lambda: self.train(ctx))

    def train(self, ctx: Context) -> dict[str, Any]:
        """Run the host to the end, in this process' care."""
        folder = ctx.folder(self.name)
        folder.mkdir(parents=True, exist_ok=True)
        if len(self.outputs(ctx)) == 2:
            return {'checkpoint': 'model.pth'}
        paths = [ctx.data.image_path(key) for key in ctx.data.ids()]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f'{self.name}: {len(missing)} of {len(paths)} listed images are missing, the first is {missing[0]}; '
                'fetch them, or take them off the list'
            )
        write_whole(folder / 'config.py', self.build(ctx).pretty_text.encode())
        log = folder / 'train.log'
        logger.info('%s: training; its log is %s', self.name, log)
        code = self.start_host(folder / 'config.py', log, ctx.quiet)
        if code:
            lines = log.read_text(errors='replace').strip().splitlines()
            said = [line for line in lines if line.startswith('error: ')] or lines[-1:] or ['nothing said']
            raise ValueError(
                f'{self.name}: training ended with code {code}: {said[-1].removeprefix("error: ")} (see {log})'
            )
        last, _ = latest_whole(folder)
        if last is None:
            raise ValueError(f'{self.name}: the training ended and left no whole checkpoint in {folder} (see {log})')
        trust_checkpoints(False)
        state = torch.load(last, map_location='cpu', weights_only=True)
        save_weights(state['state_dict'], folder / 'model.pth')
        return {'checkpoint': 'model.pth', 'parameters': sum(v.numel() for v in state['state_dict'].values())}

    def start_host(self, config: Path, log: Path, quiet: bool) -> int:
        """Run the training in a group of its own, which ends with us; its exit code."""
        command = host_command(config, self.processes, launcher=self.launcher)
        with open(log, 'ab') as file, showing_progress(log, self.name, quiet):
            return run_group(command, stdout=file, stderr=file, env=host_environment())


#: What starts several processes → what mmengine calls it.
LAUNCHERS = {'torchrun': 'pytorch', 'slurm': 'slurm'}
#: Finds a free port by itself, as ``tools/rendezvous.sh`` does.
TORCHRUN = (
    *('-m', 'torch.distributed.run', '--rdzv-backend=c10d', '--rdzv-endpoint=127.0.0.1:0', '--local-addr=127.0.0.1'),
    '--nproc-per-node',
)
#: What torchrun tells its processes; a training that one of them starts is a run of its own.
TORCHRUN_ENV = (
    *(f'{part}{what}' for part in ('', 'LOCAL_', 'GROUP_', 'ROLE_') for what in ('RANK', 'WORLD_SIZE')),
    *('ROLE_NAME', 'MASTER_ADDR', 'MASTER_PORT'),
)


def host_command(config: Path, processes: int = 1, *more: str, launcher: str = 'torchrun') -> list[str]:
    """How a config's training is started; see :mod:`mmentropy.segmentation.host_run`.

    Raises:
        ValueError: for Slurm where there is no ``srun``.

    >>> host_command(Path('config.py'))[1:]
    ['-m', 'mmentropy.segmentation.host_run', 'config.py']
    """
    training = ['-m', 'mmentropy.segmentation.host_run', str(config), *more]
    if processes == 1:
        return [sys.executable, *training]
    if launcher == 'torchrun':
        return [sys.executable, *TORCHRUN, str(processes), *training]
    if shutil.which('srun') is None:
        raise ValueError("launcher='slurm' starts srun, which is not here: start it on a cluster, or use torchrun")
    words = shlex.split(os.environ.get('SRUN_ARGS', ''))
    return ['srun', f'--ntasks={processes}', '--kill-on-bad-exit=1', *words, sys.executable, *training]


def host_environment() -> dict[str, str]:
    """Ours, in which this package is found, without what torchrun has told us."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
    theirs = {name for name in os.environ if name in TORCHRUN_ENV or name.startswith('TORCHELASTIC_')}
    return {name: value for name, value in os.environ.items() if name not in theirs} | {'PYTHONPATH': path}


def checkpoints_of(model: Any) -> Iterator[str]:
    """Every ``checkpoint`` that an ``init_cfg`` of a model's config names.

    >>> list(checkpoints_of(dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')))))
    ['a.pth']
    """
    if isinstance(model, dict):
        init = model.get('init_cfg')
        if isinstance(init, dict) and isinstance(init.get('checkpoint'), str):
            yield init['checkpoint']
        model = list(model.values())
    if isinstance(model, list):
        for value in model:
            yield from checkpoints_of(value)


#: How the hosts tell where a training is: ``Epoch(train)  [3][10/25]`` and ``Iter(train) [ 50/600]``.
_STEP = re.compile(
    r'(Epoch|Iter)\(train\)\s+\[\s*(\d+)(?:/(\d+))?\](?:\[\s*(\d+)/(\d+)\])?(?:.*? eta: ([\d:, day]+?)  )?'
)


def last_step(text: str) -> str:
    """Where a host's log says that the training is; empty if nowhere.

    >>> last_step('INFO - Epoch(train)  [3][10/25]  lr: 1.0e-01  eta: 0:10:22  time: 0.6')
    'epoch 3, 10/25, 0:10:22 left'
    """
    found = list(_STEP.finditer(text))
    if not found:
        return ''
    kind, first, of, inner, of_inner, left = found[-1].groups()
    where = f'epoch {first}, {inner}/{of_inner}' if kind == 'Epoch' else f'iteration {first}/{of}'
    return where + (f', {left} left' if left else '')


@contextmanager
def showing_progress(log: Path, name: str, quiet: bool, every: float = 2.0) -> Iterator[None]:
    """Tell on the terminal where the training is, from the end of its log, while the block runs."""
    if quiet:
        yield
        return
    start, stop = log.stat().st_size if log.is_file() else 0, threading.Event()
    with Progress(SpinnerColumn(), TextColumn('{task.description}'), TimeElapsedColumn(), transient=True) as bar:
        task = bar.add_task(f'{name}: starting (log: {log})', total=None)

        def watch() -> None:
            while not stop.wait(every):
                with open(log, 'rb') as file:
                    file.seek(max(start, file.seek(0, os.SEEK_END) - 4096))
                    where = last_step(file.read().decode(errors='replace'))
                if where:
                    bar.update(task, description=f'{name}: {where} (log: {log})')

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def save_weights(weights: dict, path: Path) -> None:
    """A checkpoint with nothing but tensors, written whole."""
    import io

    buffer = io.BytesIO()
    torch.save({'state_dict': {key: value.cpu() for key, value in weights.items()}, 'meta': {}}, buffer)
    write_whole(path, buffer.getvalue())


def seed_by_epoch(cfg: Config) -> None:
    """Let a run that was killed end with the weights of one that was left alone.

    Workers live for one epoch, as :class:`mmentropy.engine.EpochSeedHook` asks for.
    """
    hooks = cfg.get('custom_hooks') or []
    if not any(hook['type'].endswith('EpochSeedHook') for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type='mmentropy.EpochSeedHook')]
    cfg.train_dataloader.persistent_workers = False


@STAGES.register_module()
class Classify(Training):
    """Multi-label classification in mmpretrain: the source of maps.

    >>> STAGES.build(dict(type='Classify', config='classify.py', options={'train_cfg.max_epochs': 5})).name
    'classify'
    """

    def __init__(
        self,
        name: str = 'classify',
        config: str = '',
        options: dict | None = None,
        source: str | None = None,
        processes: int = 1,
        launcher: str = 'torchrun',
    ) -> None:
        super().__init__(name, config, options, None, processes, launcher)

    def adapt(self, cfg: Config, ctx: Context) -> None:
        fit_classifier(cfg, ctx.data)


class MaskTraining(Training):
    """Training in mmseg on pseudo-masks.

    Args:
        name, config, options, processes, launcher: see :class:`Training`.
        source: the stage that wrote the masks.
        init_from: a training stage whose backbone this one starts from.

    >>> MaskTraining('segment', 'deeplab.py', source='masks', init_from='classify').needs
    ['masks', 'classify']
    """

    def __init__(
        self,
        name: str,
        config: str,
        options: dict | None = None,
        source: str | None = None,
        init_from: str | None = None,
        processes: int = 1,
        launcher: str = 'torchrun',
    ) -> None:
        super().__init__(name, config, options, source, processes, launcher)
        self.init_from = init_from

    @property
    def needs(self) -> list[str]:
        return super().needs + ([self.init_from] if self.init_from else [])

    def depends(self, ctx: Context) -> dict[str, str]:
        masks = sorted(ctx.folder(self.source or '').glob('*.png'))
        listed = ctx.folder(self.source or '') / 'ids.txt'
        return {**super().depends(ctx), 'the masks': ctx.digests.of_all([listed, *masks])}

    def adapt(self, cfg: Config, ctx: Context) -> None:
        fit_segmenter(cfg, ctx.data, ctx.folder(self.source).resolve())
        if self.init_from:
            weights = str(ctx.folder(self.init_from).resolve() / 'model.pth')
            cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=weights, prefix='backbone.')


@STAGES.register_module()
class TrainAffinity(MaskTraining):
    """AffinityNet on confident masks; see :class:`mmentropy.models.segmentors.AffinityNet`.

    >>> STAGES.build(dict(type='TrainAffinity', config='affinity.py', source='confident')).needs
    ['confident']
    """

    def __init__(self, name: str = 'affinity', config: str = '', **kwargs: Any) -> None:
        super().__init__(name, config, **kwargs)


@STAGES.register_module()
class Segment(MaskTraining):
    """The final segmenter: an unmodified EncoderDecoder, or a ``DSRGSegmentor``.

    >>> STAGES.build(dict(type='Segment', config='deeplab.py', source='masks')).name
    'segment'
    """

    def __init__(self, name: str = 'segment', config: str = '', **kwargs: Any) -> None:
        super().__init__(name, config, **kwargs)
