# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One process and two on the same global batches."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from launch import work


def test_two_processes_train_and_measure_as_one(tmp_path):
    """Fifty iterations; the metrics of one set of weights to the last digit (31 images: one is padded)."""
    work('same_batch_worker.py', tmp_path)
    one, first, second = (json.loads((tmp_path / f'{name}.json').read_text()) for name in ('1_0', '2_0', '2_1'))
    assert len(one['losses']) == 50
    assert one['losses'][-1] < one['losses'][0]  # it learns: the curve is no constant
    np.testing.assert_allclose(first['losses'], one['losses'], rtol=0, atol=1e-4)
    assert first['losses'] == second['losses']
    assert first['metrics'] == second['metrics']
    # The network's float32 rounds by the company of an image in its batch: that shows in means of real numbers only.
    entropies = {'wsol/entropy', 'wsol/location_entropy'}
    assert entropies < set(one['metrics'])
    for name, value in one['metrics'].items():
        assert first['metrics'][name] == (pytest.approx(value, rel=1e-8) if name in entropies else value)
    ends = [torch.load(tmp_path / f'{name}.pt') for name in ('1_0', '2_0', '2_1')]
    assert torch.equal(ends[1], ends[2])
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-4)
