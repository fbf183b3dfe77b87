# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Every method in two real processes, in mixed precision and with accumulated gradients."""

from __future__ import annotations

import json

import numpy as np
import pytest
from launch import work

METHODS = ('efw', 'ent', 'adl', 'rdap', 'acol', 'spg', 'minmax', 'dsrg', 'affinity')


@pytest.fixture(scope='module')
def found(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp('methods')
    work('methods_worker.py', folder)
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in (0, 1)]


@pytest.mark.parametrize('method', METHODS)
def test_ddp_leaves_no_parameter_out_and_keeps_the_weights_equal(found, method):
    ranks = [rank[method]['ddp'] for rank in found]
    assert not [rank['error'] for rank in ranks if 'error' in rank]
    assert all(rank['equal'] and rank['moved'] and rank['still'] == [] for rank in ranks)
    assert np.isfinite([rank['losses'] for rank in ranks]).all()
    assert ranks[0]['losses'] != ranks[1]['losses']  # each had images of its own


@pytest.mark.parametrize('method', METHODS)
def test_autocast_trains_float32_weights_with_nearly_the_same_loss(found, method):
    amp = next(rank[method]['amp'] for rank in found if 'amp' in rank[method])
    assert amp['losses'][1] == pytest.approx(amp['losses'][0], rel=0.05, abs=0.02)
    assert amp['losses'][1] != amp['losses'][0]
    assert amp['finite']
    assert amp['dtypes'] == ['torch.float32']


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_accumulated_quarters_in_two_processes_are_the_whole_batch(found, method, precision):
    """Two quarters each, gradients exchanged with the second alone; with autocast up to bfloat16's three digits."""
    assert [rank[method]['ddp'].get('error') for rank in found] == [None, None]
    for result in (rank[method][precision] for rank in found):
        assert result['moved'] == [False, True]
        assert result['equal']
        assert result['size'] > 1e-5
        if precision == 'float32':
            assert result['difference'] < 1e-4 * result['size'] + 1e-7
        else:
            assert result['cosine'] > 0.95
            assert result['difference'] > 1e-4 * result['size']  # it was another precision


@pytest.mark.parametrize('method', METHODS)
def test_two_accumulated_halves_are_the_whole_batch(found, method):
    """Batch norm is in evaluation mode here: its batch statistics are those of the part it sees."""
    result = next(rank[method]['accumulated'] for rank in found if 'accumulated' in rank[method])
    assert result['size'] > 1e-5
    assert result['difference'] < 1e-4 * result['size'] + 1e-7


@pytest.mark.parametrize('method', METHODS)
def test_compiled_steps_are_the_same_steps(found, method):
    """What torch does not trace, recursive erasing with its checkpointed passes above all, runs eagerly."""
    eager, compiled = next(rank[method]['compiled'] for rank in found if 'compiled' in rank[method])['losses']
    assert compiled == pytest.approx(eager, rel=1e-5)
    assert eager[0] != eager[1]
