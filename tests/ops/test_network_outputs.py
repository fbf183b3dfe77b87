# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The tensor in what a network gives."""

from __future__ import annotations

import pytest
import torch

from mmentropy.ops.network_outputs import last_tensor, raw_scores


def test_the_last_tensor_of_nested_outputs():
    one, two = torch.zeros(1), torch.zeros(2)
    assert last_tensor(one) is one
    assert last_tensor([one, (two, None)]) is two
    assert last_tensor(({}, None)) is None


@pytest.mark.parametrize('key', ['out', 'logits'])
def test_scores_of_dicts(key):
    scores = torch.zeros(2, 5)
    assert raw_scores({key: (None, scores)}) is scores


@pytest.mark.parametrize(
    ('output', 'given'), [({'a': torch.zeros(2, 5)}, 'no tensor'), (torch.zeros(3), r'a tensor of shape \(3,\)')]
)
def test_other_outputs_are_named(output, given):
    with pytest.raises(ValueError, match=f'Net must give .* it gave {given}'):
        raw_scores(output, 'Net')
