# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The harness behind "Heads on a frozen trunk" of docs/results.md, on a few images."""

from __future__ import annotations

import importlib
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def frozen(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    return importlib.import_module('frozen')


def test_lines_of_a_queue(frozen):
    heads = frozen.parse('fold=select trunk=0 seed=0,1 method=efw,tri  # four of them')
    assert [(head.seed, head.method) for head in heads] == [(0, 'efw'), (0, 'tri'), (1, 'efw'), (1, 'tri')]
    assert heads[0].name == 'efw-select-seed=0-trunk=0'
    assert heads[0].source.seed == 0
    assert frozen.parse('seed=2')[0].source.seed == 2
    assert frozen.Head(method='recipe', seed=2) in frozen.queued(ROOT / 'benchmarks/frozen.txt')
    with pytest.raises(ValueError, match="'lambda=1': a head has the keys"):
        frozen.parse('lambda=1')
    with pytest.raises(ValueError, match='method is one of'):
        frozen.parse('method=cam')


def test_heads_are_the_packages(frozen):
    kinds = {method: frozen.build_head(frozen.Head(method=method), 8, 3) for method in frozen.METHODS}
    assert [type(model.neck).__name__ for model in kinds.values()] == [
        *('GlobalAveragePooling', 'EntropyPooling', 'EntropyPooling', 'NoneType')
    ]
    assert kinds['recipe'].head.auxiliary_gap == 0.5
    assert type(kinds['recipe'].head.loss_module).__name__ == 'EntropyRegularizedLoss'
    assert type(kinds['tri'].head).__name__ == 'TriRegionHead'


def test_views_follow_their_seed(frozen):
    images = torch.randint(0, 255, (3, 3, 16, 16), dtype=torch.uint8)
    one, again, other = (frozen.augmented(images, view) for view in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == images.shape


def test_a_head_is_trained_and_evaluated(frozen, monkeypatch, tmp_path):
    """Features that show the class at the box: the head learns it, and its maps find the box."""
    rng = np.random.default_rng(0)
    labels, boxes = np.arange(40) % 2, np.zeros((40, 4), np.float32)
    features = 0.1 * rng.random((1, 40, 4, 8, 8)).astype(np.float16)
    for i, label in enumerate(labels):
        y, x = rng.integers(0, 5, 2)
        features[0, i, label, y : y + 3, x : x + 3] += 1
        boxes[i] = 8 * x, 8 * y, 8 * x + 24, 8 * y + 24
    images = torch.zeros(40, 3, 64, 64, dtype=torch.uint8)
    data = frozen.recipe.Images(images, torch.from_numpy(labels), boxes)
    monkeypatch.setattr(frozen, 'features_of', lambda head, split, args: (features, data))
    args = Namespace(features=str(tmp_path))
    head = frozen.Head(method='efw', epochs=5, batch=10, lr=0.5)
    frozen.work_on(head, args)
    found = json.loads(frozen.figures_file(head, args).read_text())
    assert found['photographs']['top-1'] == 100
    assert found['photographs']['protocol']['V2'] > 60
    assert found['parameters'] == 2 * 4 + 2
    queue = tmp_path / 'queue.txt'
    queue.write_text('method=efw epochs=5 batch=10 lr=0.5\n')
    text = frozen.table(Namespace(queue=queue, features=str(tmp_path), fold='report', table='photographs'))
    assert 'entropy pooling (lr = 0.5, epochs = 5, batch = 10) (1) | protocol | 100.0' in text
