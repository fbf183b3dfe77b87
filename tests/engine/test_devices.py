# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import pytest
import torch

from mmentropy.engine.devices import usable_device


def test_a_device_that_is_there():
    assert usable_device('cpu') == usable_device(torch.device('cpu')) == torch.device('cpu')
    assert usable_device().type == ('cuda' if torch.cuda.is_available() else 'cpu')


def test_names_that_are_no_device():
    for name in ('cud', 'gpu', 'cuda:x', ''):
        with pytest.raises(ValueError, match=f"device '{name}' is none that torch knows; take cpu, cuda"):
            usable_device(name)


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.version, 'cuda', None)
    with pytest.raises(ValueError, match="device 'cuda' cannot be used: torch was built without CUDA; take cpu"):
        usable_device('cuda')
    monkeypatch.setattr(torch.version, 'cuda', '12.4')
    with pytest.raises(ValueError, match="device 'cuda:1' cannot be used: there is no GPU or no driver"):
        usable_device('cuda:1')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with pytest.raises(ValueError, match="device 'cuda:2' is not there; the last one is cuda:1"):
        usable_device('cuda:2')


def test_a_kind_of_device_that_this_torch_does_not_have():
    with pytest.raises(ValueError, match=r"device 'hpu' cannot be used: .*; take cpu or cuda"):
        usable_device('hpu')
