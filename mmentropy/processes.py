# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Processes that end with the one that started them, and folders in which one process works at a time."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

#: ``prctl``'s number for "send me this signal when my parent ends".
PR_SET_PDEATHSIG = 1
#: Seconds that a child has to end by itself after a signal, before its whole group is killed.
GRACE = 10.0
#: Seconds to wait for a folder: what a killed run leaves behind needs a moment to go.
PATIENCE = 2.0

_libc = ctypes.CDLL(None) if sys.platform == 'linux' else None


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Have this process get a signal when the one that started it ends, however that ends.

    Linux sends it the moment the parent's *thread* that started us ends: start children from a thread that lives as
    long as they shall. Elsewhere a thread looks every second. The wish goes over ``exec``, not over ``fork``.

    Args:
        parent: number of the parent, told by itself: one that ended before this call is noticed, too.
        number: the signal.
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent, number), daemon=True).start()
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _watch(parent: int, number: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), number)


def children_die_with_us() -> None:
    """From now on every process that this one forks (data workers, pools) is killed when it ends; once is enough.

    For tools: who imports the package into a process of his own decides himself.
    """
    global _parent
    if _parent is None:
        os.register_at_fork(before=_note_parent, after_in_child=_die_with_noted)
    _parent = os.getpid()


_parent: int | None = None


def _note_parent() -> None:
    global _parent
    _parent = os.getpid()


def _die_with_noted() -> None:
    if _parent is not None:
        die_with_parent(_parent)


def run_group(command: Sequence[str], grace: float = GRACE, parent_signal: int = signal.SIGKILL, **options: Any) -> int:
    """Run a command in a process group of its own until it ends; nothing of the group is left afterwards.

    SIGTERM and SIGINT that reach us go to the group, which has ``grace`` seconds before it is killed; then the signal
    takes its way with us. When we are killed ourselves the command gets ``parent_signal``. Signals are forwarded from
    the main thread only, where Python handles them.

    Args:
        command: program and arguments.
        grace: seconds.
        parent_signal: what the command gets when we end before it.
        **options: of ``subprocess.Popen``.

    Returns:
        The exit code; minus the number of the signal that ended the command.

    >>> run_group([sys.executable, '-c', 'raise SystemExit(3)'])
    3
    """
    told: list[int] = []
    parent = os.getpid()
    in_main = threading.current_thread() is threading.main_thread()
    before = {}
    if in_main:  # before the child is there: a signal in between must not be lost
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, lambda number, frame: told.append(number))
    child = None
    try:
        child = subprocess.Popen(
            command, start_new_session=True, preexec_fn=lambda: die_with_parent(parent, parent_signal), **options
        )
        code = _wait(child, told, grace)
    finally:
        if child is not None:
            end_group(child.pid)
            child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    if told:
        os.kill(parent, told[0])
    return code


def _wait(child: subprocess.Popen, told: list[int], grace: float) -> int:
    """The exit code of a child, which is sent on what we are told."""
    forwarded, until = 0, float('inf')
    while True:
        with suppress(subprocess.TimeoutExpired):
            return child.wait(0.1)
        for number in told[forwarded:]:
            forwarded, until = forwarded + 1, min(until, time.monotonic() + grace)
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
        if time.monotonic() > until:
            end_group(child.pid)


def end_group(group: int) -> None:
    """Kill what is left of a process group."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        os.killpg(group, signal.SIGKILL)


@contextmanager
def one_owner(path: str | Path, work: str, advice: str, patience: float | None = None) -> Iterator[None]:
    """Hold the lock file ``path`` for as long as the block and the processes that are forked in it last.

    The system lets go of it when all of them have ended, however they ended; the file stays and means nothing then.

    Args:
        path: the lock file; made if missing. No link is followed.
        work: what is done, as in "another *training*".
        advice: the end of the sentence.
        patience: seconds to wait for the holder to end; :data:`PATIENCE` by default.

    Raises:
        ValueError: if another holds it, naming its process.

    >>> with one_owner('train.lock', 'training', 'wait for it'):
    ...     Path('train.lock').read_text().startswith(f'process {os.getpid()} on ')
    True
    """
    path = Path(path)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ValueError(f'{path} cannot be used as a lock ({error.strerror}); remove it') from None
    try:
        until = time.monotonic() + (PATIENCE if patience is None else patience)
        while not _locked(file):
            if time.monotonic() > until:
                who = re.match(r'process \d+ on \S{1,255}', os.pread(file, 300, 0).decode(errors='replace'))
                holder = who[0] if who else 'a process that left no number'
                raise ValueError(f'{path.parent}: another {work} works in this folder ({holder}); {advice}')
            time.sleep(0.05)
        note = f'process {os.getpid()} on {platform.node()}\n'.encode()
        os.ftruncate(file, 0)
        os.pwrite(file, note, 0)
        yield
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
