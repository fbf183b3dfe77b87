# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Work for the tests of tasks: squares that say who did them, and that may end their process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def square(number: int) -> list[int]:
    return [number, number**2]


def refuse(number: int) -> int:
    raise ValueError(f'shard {number} cannot be read')


def square_or_die(folder: str, dies_at: int, times: int, number: int) -> int:
    """The square; at ``dies_at`` the process is killed, the first ``times`` times."""
    tried = len(list(Path(folder).glob(f'{number}-*')))
    Path(folder, f'{number}-{tried}-{os.getpid()}').touch()
    if number == dies_at and tried < times:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number**2
