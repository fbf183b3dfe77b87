# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Processes of one run that do not wait for one that has died."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

#: Seconds that a process whose peer has died is given to say what it met.
GRACE = 2.0


class PeerWatch:
    """Leaves when the launcher asks us to because another process of the run, on this machine, has died.

    A process that waits for its peers inside NCCL or gloo does not hear Python's handler of SIGTERM; torchrun kills it
    after half a minute. Here a thread hears the signal. While all peers live it is a scheduler's, and nothing is done:
    the run writes its checkpoint together. With one gone there is nothing that could be done together.

    Args:
        peers: numbers of the run's other processes on this machine.
        grace: seconds between the signal and the end.

    >>> watch = PeerWatch(peers=[os.getpid()])
    >>> watch.start(), watch.stop()
    (None, None)
    """

    def __init__(self, peers: Sequence[int], grace: float = GRACE) -> None:
        self.peers, self.grace = list(peers), grace
        self._pipe: tuple[int, int] | None = None
        self._before = -1

    def start(self) -> None:
        """Listen; from the main thread, as Python wants it."""
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(self._pipe[0],), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        if self._pipe is not None:
            signal.set_wakeup_fd(self._before)
            os.close(self._pipe[1])
            self._pipe = None

    def _listen(self, pipe: int) -> None:
        told = False
        while True:
            ready, _, _ = select.select([pipe], [], [], 0.5 if told else None)
            heard = os.read(pipe, 64) if ready else None
            if heard == b'':
                os.close(pipe)
                return
            told = told or signal.SIGTERM in (heard or b'')
            lost = [pid for pid in self.peers if not _lives(pid)] if told else []
            if lost:
                threading.Event().wait(self.grace)
                print(
                    f'process {lost[0]} of this run has died: {os.getpid()} leaves; go on with --resume',
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)


def _lives(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
