# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Runs that train nothing; other processes import them by name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, eq=False)
class SmallRun:
    """Does as its name says, and leaves ``figures.txt``."""

    name: str
    directory: Path
    seed: int = 0
    figure: float = 1.0

    def state(self) -> str:
        return 'finished' if (self.directory / 'figures.txt').is_file() else 'missing'

    def metrics(self) -> dict[str, dict[str, float]]:
        return {'val': {'top1': self.figure, 'loss': float((self.directory / 'figures.txt').read_text())}}

    def execute(self) -> None:
        (self.directory / 'began').write_text(f'{time.monotonic()} {os.environ.get("CUDA_VISIBLE_DEVICES", "")}')
        if self.name == 'raises':
            raise ValueError('row 3 is bad')
        if self.name == 'killed':
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60 if self.name == 'long' else 0.3)
        (self.directory / 'ended').write_text(str(time.monotonic()))
        (self.directory / 'figures.txt').write_text('2.5')
