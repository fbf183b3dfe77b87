# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Min-max training over real processes: two equal one, and a killed run goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


def work(what: str, folder: Path) -> None:
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(HERE.parents[1]), str(HERE)]), OMP_NUM_THREADS='1')
    command = [sys.executable, '-W', 'ignore', str(HERE / 'minmax_worker.py'), what, str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]


def test_two_processes_equal_one_on_the_same_global_batch(tmp_path):
    """Group norm: batch norm would take each process's statistics from its own half of the batch."""
    work('ddp', tmp_path)
    one, first, second = (torch.load(tmp_path / f'{name}.pt') for name in ('1_0', '2_0', '2_1'))
    for alone, a, b in zip(one['log'], first['log'], second['log']):
        assert alone[:4] == pytest.approx(a[:4], rel=1e-5, abs=1e-5)
        assert a[:4] == b[:4]
    # In the first step the processes made different numbers of passes, and neither waited for the other.
    assert [log['log'][0][4] for log in (one, first, second)] == [3, 1, 3]
    torch.testing.assert_close(one['weights'], first['weights'], rtol=0, atol=1e-5)
    assert torch.equal(first['weights'], second['weights'])


@pytest.mark.slow
def test_killed_and_resumed_goes_on_as_if_never_stopped(tmp_path):
    """SIGKILL in the middle of an epoch; from the epoch's checkpoint, and from one inside an epoch."""
    work('kill', tmp_path)
    for kind, restart in (('epochs', 4), ('iters', 5)):
        whole, broken = (
            [json.loads(line) for line in (tmp_path / f'{name}_{kind}/diary.jsonl').read_text().splitlines()]
            for name in ('whole', 'broken')
        )
        assert [entry[0] for entry in whole] == list(range(12))
        assert [entry[0] for entry in broken] == [*range(7), *range(restart, 12)]
        assert broken == whole[:7] + whole[restart:]  # t, both σ, the passes and the loss, to the last digit
        assert {entry[4] for entry in whole[:4]} == {0}
        assert {entry[4] for entry in whole[4:]} == {2}
        assert whole[4][1:4] == pytest.approx([5.05, 0.49, 11.0])
        assert whole[11][1:4] == pytest.approx([5 * 1.01**2, 0.5 * 0.98**2, 12.1])
        ends = [torch.load(tmp_path / f'{name}_{kind}/weights.pt') for name in ('whole', 'broken')]
        assert torch.equal(*ends)
