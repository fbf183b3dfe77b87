# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Workers of a killed pipeline end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

WORK = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from mmentropy.segmentation.stage import clean_processes

if __name__ == '__main__':
    with ProcessPoolExecutor(1, clean_processes()) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def lives(process: int) -> bool:
    """Whether it is there, and no zombie."""
    try:
        with open(f'/proc/{process}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def test_a_killed_parent_takes_its_workers_along(tmp_path):
    (tmp_path / 'work.py').write_text(WORK)
    with subprocess.Popen([sys.executable, str(tmp_path / 'work.py')], stdout=subprocess.PIPE, text=True) as parent:
        worker = next(int(line) for line in parent.stdout if line.strip().isdigit())
        assert lives(worker)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        end = time.monotonic() + 20
        while lives(worker):
            assert time.monotonic() < end, 'the worker outlived its parent'
            time.sleep(0.05)
