# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the command lines of all tools share: options, their types, and errors that are one sentence.

Nothing heavy is imported here before it is needed: ``--help`` is to answer at once.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pickle import UnpicklingError
from typing import Any

from mmentropy.processes import children_die_with_us

#: Where each launcher leaves rank, world size and local rank.
LAUNCHER_ENV = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}

#: Who may have started the processes of work that is shared out image by image; see :mod:`mmentropy.tasks`.
TASK_LAUNCHERS = ('none', 'torchrun', 'slurm', 'ray')
#: Errors whose message is written for the user; with MMENTROPY_DEBUG=1 the stack is shown too.
USER_ERRORS = (OSError, ValueError, KeyError, ImportError)


#: What Python says of a call that does not fit, and …
WRONG_ARGUMENT = re.compile(r'(\w+)(?:\.__init__)?\(\) ((?:got an unexpected keyword|missing \d+ required) .*)')
#: … where mmengine builds what a config says.
BUILDS = os.path.join('registry', 'build_functions.py')


def positive_int(text: str) -> int:
    """An option that counts something: 1 or more.

    >>> positive_int('3')
    3
    """
    with suppress(ValueError):
        if int(text) >= 1:
            return int(text)
    raise argparse.ArgumentTypeError(f'expected a whole number of 1 or more, got {text}')


def threshold_or_rule(text: str) -> float | str:
    """A number, or a rule's name as it stands: who takes the threshold says which names there are.

    >>> threshold_or_rule('0.2'), threshold_or_rule('auto')
    (0.2, 'auto')
    """
    try:
        return float(text)
    except ValueError:
        return text


def positive_float(text: str) -> float:
    """An option that is a factor or a weight: above 0, and finite.

    >>> positive_float('0.5')
    0.5
    """
    with suppress(ValueError):
        if 0 < float(text) < float('inf'):
            return float(text)
    raise argparse.ArgumentTypeError(f'expected a number above 0, got {text}')


class ConfigOptions(argparse.Action):
    """``key=value …`` as a dict, read as mmengine reads it; what has no ``=`` is an error of the command line.

    >>> parser = argparse.ArgumentParser()
    >>> add_config_options(parser)
    >>> parser.parse_args(['--cfg-options', 'optim_wrapper.optimizer.lr=0.1', 'train_cfg.max_epochs=2']).cfg_options
    {'optim_wrapper.optimizer.lr': 0.1, 'train_cfg.max_epochs': 2}
    """

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        from mmengine.config import DictAction

        for text in values or ():
            if not text.partition('=')[0] or '=' not in text:
                raise argparse.ArgumentError(self, f'expected key=value, got {text!r}')
        read = DictAction(self.option_strings, self.dest, nargs='+')
        try:
            read(parser, namespace, values, option_string)
        except AssertionError as error:
            raise argparse.ArgumentError(self, str(error)) from None


def add_config_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    flag: str = '--cfg-options',
    told: str = 'override config keys: key=value ...; +key=value adds one that the config does not know',
) -> None:
    """The option of every tool that reads a config."""
    parser.add_argument(flag, nargs='+', action=ConfigOptions, metavar='KEY=VALUE', help=told)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every tool which starts a run has."""
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<config name>)')
    add_config_options(parser)
    parser.add_argument('--launcher', choices=['none', *LAUNCHER_ENV], default='none', help='job launcher')
    parser.add_argument('--trust-checkpoint', action='store_true', help='allow checkpoints that run code when loaded')
    parser.add_argument('--verbose', action='store_true', help='print the whole configuration')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')


def add_weights_arguments(parser: argparse.ArgumentParser, told: str = 'checkpoint') -> None:
    """The options that say which weights a network has; without ``--weights`` a tool refuses to work."""
    parser.add_argument('--weights', help=told)
    parser.add_argument(
        '--random-weights', action='store_true', help='go on without --weights; the figures and maps mean nothing'
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='allow checkpoints that run code when loaded')


def one_sentence_errors(main: Callable[[], Any]) -> Callable[[], Any]:
    """Decorate a tool's ``main``: what the user can mend is one sentence on stderr and exit code 2, without a stack."""

    @wraps(main)
    def wrapper() -> Any:
        _keep_safe()
        if os.environ.get('MMENTROPY_DEBUG'):
            return main()
        try:
            return main()
        except Exception as error:
            message, lost = user_message(error), _peer_is_lost(error)
            if message is None:
                raise
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None
        print(f'error: {message}\n(MMENTROPY_DEBUG=1 shows where)', file=sys.stderr, flush=True)
        if lost:
            sys.stdout.flush()
            os._exit(2)  # leaving the group in order would wait for who is gone
        raise SystemExit(2)

    return wrapper


def _keep_safe() -> None:
    """What holds for every tool: weights are data until --trust-checkpoint, no name is unprintable, no child stays."""
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'  # whoever calls torch.load, and whatever it asks for
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):  # file names may hold any bytes
            stream.reconfigure(errors='backslashreplace')
    children_die_with_us()


def user_message(error: Exception) -> str | None:
    """What went wrong and what the user can do about it; None where only the stack helps."""
    if isinstance(error, UnpicklingError):
        return (
            f'the checkpoint holds more than weights and was refused ({first_line(error)}); '
            'if you trust where it comes from, add --trust-checkpoint'
        )
    if isinstance(error, MemoryError) or type(error).__name__ == 'OutOfMemoryError':  # torch's, without importing it
        return f'the memory does not suffice ({first_line(error)}); lower the batch size or the size of the images'
    if _worker_is_lost(error):
        return (
            'a data worker process was ended by the system, most often for want of memory '
            f'({first_line(error)}); lower num_workers or the batch size and go on with --resume: earlier '
            'checkpoints are whole'
        )
    if _peer_is_lost(error):
        return f'another process of this run has ended ({first_line(error)[:100]}); go on with --resume'
    if isinstance(error, TypeError):
        return _wrong_argument(error)
    if not isinstance(error, USER_ERRORS):
        return None
    message = first_line(error)
    if ' registry.' in message:
        from mmentropy.registry import name_near_types

        return name_near_types(message) or message
    return message


def _peer_is_lost(error: Exception) -> bool:
    """Whether gloo or NCCL says that another process of the run has gone."""
    told = str(error) if isinstance(error, RuntimeError) else ''
    return bool(
        re.search(r'gloo.*(Connection (closed|reset)|Read error|Write error)|NCCL.*(remote process|aborted)', told)
    )


def _worker_is_lost(error: Exception) -> bool:
    """Whether the kernel ended a data worker; what a worker raised itself comes with its own type."""
    if isinstance(error, ConnectionResetError | BrokenPipeError | EOFError):
        with suppress(RuntimeError):  # what torch raises, some moments later, when it hears of a lost worker
            time.sleep(0.5)
        return True
    return bool(re.match(r'DataLoader worker \(pid.* (killed by signal|exited unexpectedly)', str(error)))


def _wrong_argument(error: TypeError) -> str | None:
    """For a config that gives a type what it does not take, or not what it needs; other TypeErrors are faults."""
    found = WRONG_ARGUMENT.search(str(error))
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    if found is None or not any(file.endswith(BUILDS) for file in files):
        return None
    return f'the config builds {found[1]}, which {found[2]}'


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
