# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What all stages share: the figures of a confusion, workers that end with their parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mmentropy.segmentation.stage import iou_figures, pack_counts, unpack_counts


def test_figures_of_a_stage():
    """Per cent, two digits; a class that occurs nowhere has none and is not in the mean."""
    counts = np.array([[2, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    assert iou_figures(counts) == {'mIoU': 66.67, 'IoU': [100.0, 50.0, 50.0, None]}
    assert iou_figures(np.zeros((2, 2), int)) == {'mIoU': None, 'IoU': [None, None]}


def test_counts_travel_as_json():
    counts = np.arange(24).reshape(2, 3, 4) * 10**12
    got = unpack_counts(json.loads(json.dumps(pack_counts(counts))))
    np.testing.assert_array_equal(got, counts)
    got += 1  # may be added to


WORK = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from mmentropy.segmentation.stage import clean_processes, end_with_parent

if __name__ == '__main__':
    with ProcessPoolExecutor(1, clean_processes()) as pool:
        pool.submit(end_with_parent).result()
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


@pytest.mark.slow
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
