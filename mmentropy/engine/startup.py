# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The start-up of a run, shared by every tool: config, command line, processes, devices, errors."""

from __future__ import annotations

import argparse
import atexit
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from .amp import cpu_has_bf16
from .checkpoint import check_whole, latest_whole, torch_version, trust_checkpoints
from .compiling import compile_what_goes
from .config_options import RUN_GROUPS, Takes, add_config_options, merge_options

#: Where each launcher leaves rank, world size and local rank.
LAUNCHER_ENV = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}

#: Errors whose message is written for the user; with MMENTROPY_DEBUG=1 the stack is shown too.
USER_ERRORS = (OSError, ValueError, KeyError, ImportError)


def load_config(
    path: str, options: Mapping[str, Any] | None = None, groups: Mapping[str, tuple[Takes, ...]] = RUN_GROUPS
) -> Config:
    """Read a config and merge ``--cfg-options``; see :func:`~mmentropy.engine.config_options.merge_options`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file with a mistake, and for an option that the config does not know.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'config {path} does not exist; the configs are under configs/')
    try:
        cfg = Config.fromfile(path)
    except OSError:
        raise
    except Exception as error:  # a config is a program: whatever it raises is a mistake in it
        raise ValueError(f'config {path} cannot be read: {type(error).__name__}: {first_line(error)}') from error
    merge_options(cfg, options or {}, groups)
    return cfg


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every tool which starts a run has."""
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<config name>)')
    add_config_options(parser)
    parser.add_argument('--launcher', choices=['none', *LAUNCHER_ENV], default='none', help='job launcher')
    parser.add_argument('--trust-checkpoint', action='store_true', help='allow checkpoints that run code when loaded')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')


def add_weights_arguments(parser: argparse.ArgumentParser, help: str = 'checkpoint') -> None:
    """The options that say which weights a network has; without ``--weights`` a tool refuses to work."""
    parser.add_argument('--weights', help=help)
    parser.add_argument(
        '--random-weights', action='store_true', help='go on without --weights; the figures and maps mean nothing'
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='allow checkpoints that run code when loaded')


def set_work_dir(cfg: Config, config_path: str, work_dir: str | None) -> None:
    """Command line > config > ``work_dirs/<name of the config>``."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(config_path).stem)


def use_amp(cfg: Config) -> None:
    """Train in mixed precision: float16 with a loss scaler on a GPU, bfloat16 autocast on the CPU."""
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
    """
    cfg.launcher = launcher
    os.environ.setdefault('LOCAL_RANK', '0')
    if launcher != 'none':
        atexit.register(_leave_processes)
    if launcher == 'none' or torch.cuda.is_available():
        return
    if not dist.is_initialized():
        names = LAUNCHER_ENV[launcher]
        missing = [name for name in names if name not in os.environ]
        if missing:
            names = ', '.join(missing)
            raise ValueError(
                f'--launcher {launcher} needs the variables {names}: start it with torchrun, srun or mpirun'
            )
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
        found, skipped = latest_whole(cfg.work_dir)
        for path in skipped:
            print(f'{path} is no whole checkpoint and is passed over', file=sys.stderr)
        if found is not None:
            cfg.load_from = str(found)
        else:
            cfg.resume = False
            if skipped:
                print(f'{cfg.work_dir} holds no whole checkpoint: the training begins anew', file=sys.stderr)


def build_runner(cfg: Config, trust_checkpoint: bool = False) -> Runner:
    """The runner of a config; checkpoints it loads run no code unless trusted, those it writes survive a crash."""
    trust_checkpoints(trust_checkpoint)
    use_safe_run(cfg)
    choose_checkpoint(cfg)
    if cfg.get('compile'):
        compile_what_goes(cfg.model.type)
    if not torch.cuda.is_available():
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            if cfg.get(loader):
                cfg[loader].setdefault('pin_memory', False)
    if cfg.get('runner_type'):
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)


def one_sentence_errors(main: Callable[[], Any]) -> Callable[[], Any]:
    """Decorate a tool's ``main``: what the user can mend is one sentence on stderr and exit code 2, without a stack."""

    @wraps(main)
    def wrapper() -> Any:
        if os.environ.get('MMENTROPY_DEBUG'):
            return main()
        try:
            return main()
        except UnpicklingError as error:
            message = (
                f'the checkpoint holds more than weights and was refused ({first_line(error)}); '
                'if you trust where it comes from, add --trust-checkpoint'
            )
        except (*USER_ERRORS, EOFError, RuntimeError) as error:
            if isinstance(error, ConnectionResetError | BrokenPipeError | EOFError):
                with suppress(RuntimeError):  # what torch raises, some moments later, when it hears of a lost worker
                    time.sleep(0.5)
            # A worker that the kernel ended; what a worker raised itself comes with its own type.
            lost = re.match(r'DataLoader worker \(pid.* (killed by signal|exited unexpectedly)', str(error))
            if lost or isinstance(error, ConnectionResetError | BrokenPipeError | EOFError):
                message = (
                    'a data worker process was ended by the system, most often for want of memory '
                    f'({first_line(error)}); lower num_workers or the batch size and go on with --resume: earlier '
                    'checkpoints are whole'
                )
            elif isinstance(error, RuntimeError):
                raise
            else:
                message = first_line(error)
        print(f'error: {message}\n(MMENTROPY_DEBUG=1 shows where)', file=sys.stderr)
        raise SystemExit(2)

    return wrapper


def first_line(error: BaseException) -> str:
    """An error's own sentence, without what registries and KeyError wrap around it."""
    while error.__cause__ is not None and isinstance(error.__cause__, USER_ERRORS):
        error = error.__cause__
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = text.strip().splitlines() or [type(error).__name__]
    if re.match(r'Caught \w+ in DataLoader worker process', lines[0]):
        # torch packs the worker's whole stack into the message; the worker's own sentence comes after it.
        told = [line for line in lines if line.startswith(f'{type(error).__name__}: ')]
        return told[-1].partition(': ')[2].strip('\'"') if told else lines[-1]
    return lines[0]
