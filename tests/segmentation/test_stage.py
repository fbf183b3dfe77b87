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
import os, time
from concurrent.futures import ProcessPoolExecutor
from mmentropy.segmentation.stage import _Measure, clean_processes

if __name__ == '__main__':
    # Two workers, which hold what they may be asked for; one of them never gets any work.
    with ProcessPoolExecutor(2, clean_processes(), initializer=id, initargs=(_Measure(None, None),)) as pool:
        pool.submit(os.getpid).result()
        print(*pool._processes, flush=True)
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
        workers = next([int(word) for word in line.split()] for line in parent.stdout if line[0].isdigit())
        assert all(map(lives, workers))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        end = time.monotonic() + 20
        while any(map(lives, workers)):
            assert time.monotonic() < end, 'a worker outlived its parent'
            time.sleep(0.05)
