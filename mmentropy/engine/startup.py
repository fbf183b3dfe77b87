# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The start-up of a run, shared by every tool: config, processes, precision, checkpoint, runner."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.utils import get_installed_path

from mmentropy.command_line import LAUNCHER_ENV, first_line
from mmentropy.processes import die_with_parent, one_owner

from .amp import cpu_has_bf16
from .checkpoint import check_whole, latest_whole, torch_version, trust_checkpoints
from .class_count import ClassCountHook
from .compiling import compile_what_goes
from .config_options import RUN_GROUPS, Takes, merge_options
from .metric_model_hook import MetricModelHook
from .run_settings import check_settings
from .short_log import ShortLogRunner, run_header

#: Our configs: in a wheel files, in a clone a link to ``configs/``.
CONFIGS = Path(__file__).resolve().parents[1] / '.mim' / 'configs'
#: mmengine reads ``_base_ = 'package::…'`` of the packages in its own list alone.
MODULE2PACKAGE.setdefault('mmentropy', 'mmentropy')


def config_path(name: str | Path) -> Path:
    """The file of a config: a path, or ``package::path`` below the ``configs`` of an installed package.

    Raises:
        FileNotFoundError: if there is none, with the nearest names of ours.

    >>> config_path('mmentropy::demo/resnet18_partshapes.py').name
    'resnet18_partshapes.py'
    """
    package, installed, inner = str(name).partition('::')
    if not installed:
        path = Path(name)
    elif package == 'mmentropy':
        path = CONFIGS / inner
    else:
        try:
            path = Path(get_installed_path(package)) / '.mim' / 'configs' / inner
        except ImportError:
            raise FileNotFoundError(f'config {name}: the package {package} is not installed') from None
    if not path.is_file():
        ours = {file.name: f'mmentropy::{file.relative_to(CONFIGS).as_posix()}' for file in CONFIGS.glob('*/*.py')}
        near = [ours[file] for file in get_close_matches(path.name, ours, 3, 0.6)]
        said = f'did you mean {" or ".join(near)}?' if near else 'ours are under configs/, and mmentropy::… names them'
        raise FileNotFoundError(f'config {name} does not exist; {said}')
    return path


def load_config(
    path: str, options: Mapping[str, Any] | None = None, groups: Mapping[str, tuple[Takes, ...]] = RUN_GROUPS
) -> Config:
    """Read a config and merge ``--cfg-options``; see :func:`~mmentropy.engine.config_options.merge_options`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file with a mistake, and for an option that the config does not know.
    """
    file = config_path(path)
    try:
        cfg = Config.fromfile(str(file))
    except OSError:
        raise
    except Exception as error:  # a config is a program: whatever it raises is a mistake in it
        raise ValueError(f'config {path} cannot be read: {type(error).__name__}: {first_line(error)}') from None
    _forget_scope(cfg._cfg_dict)
    merge_options(cfg, options or {}, groups)
    return cfg


def _forget_scope(group: Any) -> None:
    """mmengine notes on all that comes from ``mmentropy::…`` that it is ours; what is ours says so by its prefix."""
    if isinstance(group, dict):
        if group.get('_scope_') == 'mmentropy':
            del group['_scope_']
        group = list(group.values())
    if isinstance(group, list | tuple):
        for inner in group:
            _forget_scope(inner)


def set_work_dir(cfg: Config, config_path: str, work_dir: str | None) -> None:
    """Command line > config > ``work_dirs/<name of the config>``."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(config_path).stem)


def use_amp(cfg: Config) -> None:
    """Train in mixed precision: float16 with a loss scaler on a GPU, bfloat16 autocast on the CPU."""
    if not cfg.get('optim_wrapper'):
        raise ValueError(f'--amp sets the type of optim_wrapper, and {cfg.filename or "the config"} has none')
    if torch.cuda.is_available():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
        return
    if not cpu_has_bf16():
        print('this CPU has no bfloat16 arithmetic: --amp works, but training without it is faster', file=sys.stderr)
    cfg.optim_wrapper.type = 'mmentropy.CpuAmpOptimWrapper'


def start_processes(cfg: Config, launcher: str) -> None:
    """Join the other processes of a distributed run.

    With GPUs mmengine does it. Its launcher asks for CUDA, so on the CPU the gloo group is made here, before the Runner
    (which then skips its own), and the wrapper is told not to name a GPU.

    Args:
        cfg: the run's config; ``launcher`` and ``model_wrapper_cfg`` are set.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.

    Raises:
        ValueError: without the variables that the launcher sets.
    """
    cfg.launcher = launcher
    os.environ.setdefault('LOCAL_RANK', '0')
    if launcher == 'none':
        return
    atexit.register(_leave_processes)
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        # Of a killed torchrun nothing is left: its processes write their checkpoint and go.
        die_with_parent(os.getppid(), signal.SIGTERM)
    names = LAUNCHER_ENV[launcher]
    missing = [name for name in names if name not in os.environ]
    if missing and not dist.is_initialized():
        raise ValueError(
            f'--launcher {launcher} needs the variables {", ".join(missing)}: start it with torchrun, srun or mpirun'
        )
    if torch.cuda.is_available():
        return
    if not dist.is_initialized():
        for name, source in zip(LAUNCHER_ENV['pytorch'], names):
            os.environ[name] = os.environ[source]
        os.environ.setdefault('MASTER_PORT', '29500')
        if 'MASTER_ADDR' not in os.environ:
            os.environ['MASTER_ADDR'] = _first_slurm_host() if launcher == 'slurm' else '127.0.0.1'
        dist.init_process_group('gloo')
    cfg.launcher = 'pytorch'
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
    wrapper.update(cfg.get('model_wrapper_cfg') or {})
    if cfg.get('find_unused_parameters') is not None:
        wrapper.setdefault('find_unused_parameters', cfg.find_unused_parameters)
    cfg.model_wrapper_cfg = wrapper


def _leave_processes() -> None:
    """Join the group's threads: one that still runs when the interpreter goes aborts the process after its work.

    Not before torch 2.6, whose gloo hangs here now and then (2.5.1: 5 of 12 runs of three processes).
    """
    if dist.is_initialized() and torch_version() >= (2, 6):
        dist.destroy_process_group()


def _first_slurm_host() -> str:
    nodes = os.environ.get('SLURM_NODELIST', '127.0.0.1')
    hosts = subprocess.run(['scontrol', 'show', 'hostname', nodes], capture_output=True, text=True, check=True)
    return hosts.stdout.split()[0]


#: Held by the process that trains in a folder.
LOCK = '.training'
#: Ours for the hosts' own: written whole, resumed inside an epoch.
LOOP_TYPES = {'EpochBasedTrainLoop': 'mmentropy.EpochTrainLoop', 'IterBasedTrainLoop': 'mmentropy.IterTrainLoop'}


def use_safe_run(cfg: Config) -> None:
    """Let a config, ours or a host's, write whole checkpoints, resume exactly, and stop on a scheduler's SIGTERM.

    The hosts' plain ``CheckpointHook`` and training loops are replaced by ours of the same options; any other type that
    the config names stays. ``default_hooks.stop=None`` leaves the signal alone.
    """
    hooks = dict(cfg.get('default_hooks') or {})
    hook = hooks.get('checkpoint', dict(interval=1))
    if hook is not None and hook.get('type', 'CheckpointHook') == 'CheckpointHook':
        hooks['checkpoint'] = {**hook, 'type': 'mmentropy.WholeCheckpointHook'}
    hooks.setdefault('stop', dict(type='mmentropy.StopSignalHook'))
    cfg.default_hooks = hooks
    loop = cfg.get('train_cfg')
    if loop:
        if 'type' not in loop and 'by_epoch' in loop:
            loop.type = 'EpochBasedTrainLoop' if loop.pop('by_epoch') else 'IterBasedTrainLoop'
        loop.type = LOOP_TYPES.get(loop.type, loop.type)


def choose_checkpoint(cfg: Config) -> None:
    """Fix what a run starts from before anything is built; broken files are named, and passed over by ``--resume``.

    Raises:
        FileNotFoundError, ValueError: for a checkpoint that is missing or truncated.
    """
    if cfg.get('load_from'):
        check_whole(cfg.load_from)
    elif cfg.get('resume') and cfg.get('work_dir'):
        latest, skipped = latest_whole(cfg.work_dir, *_checkpoint_folders(cfg))
        for path in skipped:
            print(f'{path} is no whole checkpoint and is passed over', file=sys.stderr)
        if latest is not None:
            cfg.load_from = str(latest)
        else:
            cfg.resume = False
            if skipped:
                print(f'{cfg.work_dir} holds no whole checkpoint: the training begins anew', file=sys.stderr)


def _checkpoint_folders(cfg: Config) -> list[Path]:
    """Where the checkpoint hook writes, if not to the work dir: mmengine adds the work dir's name."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    return [Path(hook['out_dir'], Path(cfg.work_dir).name)] if hook.get('out_dir') else []


def train(cfg: Config, trust_checkpoint: bool = False, verbose: bool = False, header: bool = False) -> Runner:
    """Train a config to the end, as the only training in its ``work_dir``, which holds no other's checkpoints.

    Args:
        cfg: with ``work_dir``; ``resume`` goes on from what is there.
        trust_checkpoint, verbose: see :func:`build_runner`.
        header: print what is trained, on what and where.

    Returns:
        The runner, trained.

    Raises:
        ValueError: if another training works in the folder, or if it holds checkpoints of other settings and the
            training was not asked to resume from them.
    """
    if int(os.environ.get(LAUNCHER_ENV.get(cfg.get('launcher', 'none'), ('',))[0], 0)):
        return _train(cfg, trust_checkpoint, verbose, header)  # the first process keeps the folder
    Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    with one_owner(Path(cfg.work_dir, LOCK), 'training', 'wait for it, stop it, or take another --work-dir'):
        use_safe_run(cfg)
        check_settings(cfg, _checkpoint_folders(cfg))
        return _train(cfg, trust_checkpoint, verbose, header)


def _train(cfg: Config, trust_checkpoint: bool, verbose: bool, header: bool) -> Runner:
    runner = build_runner(cfg, trust_checkpoint, verbose)
    if header and runner.rank == 0:
        print(run_header(runner))
    runner.train()
    return runner


def build_runner(cfg: Config, trust_checkpoint: bool = False, verbose: bool = False) -> Runner:
    """The runner of a config; checkpoints it loads run no code unless trusted, those it writes survive a crash.

    Args:
        cfg: the run's config.
        trust_checkpoint: allow a checkpoint to run code when loaded.
        verbose: print the whole configuration, which is in the log file in any case.
    """
    trust_checkpoints(trust_checkpoint)
    use_safe_run(cfg)
    choose_checkpoint(cfg)
    if cfg.get('compile'):
        compile_what_goes(cfg.model.type)
    if not torch.cuda.is_available():
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if cfg.get(loader):
                cfg[loader].setdefault('pin_memory', False)
    kind = Runner if verbose else ShortLogRunner
    runner = RUNNERS.build(cfg) if cfg.get('runner_type') else kind.from_cfg(cfg)
    runner.register_hook(ClassCountHook())
    runner.register_hook(MetricModelHook())
    return runner
