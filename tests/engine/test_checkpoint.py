# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmentropy.engine.checkpoint import (
    broken,
    check_whole,
    host_curves,
    misfit,
    plain_curves,
)

CODE = """
import os, sys, torch, warnings
warnings.filterwarnings('ignore')
from mmengine.runner.checkpoint import load_checkpoint
from mmentropy.engine import trust_checkpoints
trust_checkpoints(sys.argv[2] == 'trust')
model = torch.nn.Linear(1, 1)
load_checkpoint(model, sys.argv[1])
print('weight', model.weight.item())
"""


class Payload:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def load(path, trust: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', CODE, str(path), trust], capture_output=True, text=True)


def test_a_checkpoint_that_runs_code_is_refused_unless_trusted(tmp_path):
    import torch

    weights = {'weight': torch.tensor([[3.0]]), 'bias': torch.tensor([0.0])}
    good, bad, trace = tmp_path / 'good.pth', tmp_path / 'bad.pth', tmp_path / 'code_ran'
    torch.save({'state_dict': weights}, good)
    torch.save({'state_dict': weights, 'meta': Payload(str(trace))}, bad)

    assert 'weight 3.0' in load(good, 'no').stdout
    refused = load(bad, 'no')
    assert refused.returncode != 0
    assert 'UnpicklingError' in refused.stderr
    assert not trace.exists()
    assert 'weight 3.0' in load(bad, 'trust').stdout
    assert trace.exists()


def test_log_curves_are_data_but_no_other_attribute_is(tmp_path):
    """mmengine's curves pickle their statistics as getattr(HistoryBuffer, name): that is admitted."""
    import torch
    from mmengine.logging import HistoryBuffer

    class Sly:
        def __reduce__(self):
            return getattr, (HistoryBuffer, 'update')

    weights = {'weight': torch.tensor([[3.0]]), 'bias': torch.tensor([0.0])}
    curve = HistoryBuffer()
    curve.update(1.5)
    for name, extra in (('good', curve), ('sly', Sly())):
        torch.save({'state_dict': weights, 'message_hub': extra}, tmp_path / f'{name}.pth')
    assert 'weight 3.0' in load(tmp_path / 'good.pth', 'no').stdout
    refused = load(tmp_path / 'sly.pth', 'no')
    assert refused.returncode != 0
    assert 'weight 3.0' not in refused.stdout


def save(path, **content) -> None:
    torch.save(content or {'state_dict': {'weight': torch.arange(100.0)}}, path)


def test_broken_files_are_told_from_whole_ones(tmp_path):
    save(tmp_path / 'epoch_1.pth')
    torch.save({'a': torch.ones(3)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    assert broken(tmp_path / 'epoch_1.pth') is None
    assert broken(tmp_path / 'old.pth') is None
    data = (tmp_path / 'epoch_1.pth').read_bytes()
    for cut in (1, 100, len(data) - 30):
        (tmp_path / 'cut.pth').write_bytes(data[:-cut])
        with pytest.raises(ValueError, match=r'cut\.pth is no whole checkpoint: .*; whole ones beside it: epoch_1'):
            check_whole(tmp_path / 'cut.pth')
    for content, words in ((b'', 'it is empty'), (b'<html>', r'not written by torch\.save')):
        (tmp_path / 'cut.pth').write_bytes(content)
        with pytest.raises(ValueError, match=words):
            check_whole(tmp_path / 'cut.pth')
    with pytest.raises(FileNotFoundError, match=r'none\.pth does not exist'):
        check_whole(tmp_path / 'none.pth')
    check_whole('https://somewhere/model.pth')  # what is not local is not judged


def test_another_models_checkpoint_is_refused():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    state = model.state_dict()
    assert misfit(model, {'state_dict': {f'module.{key}': value for key, value in state.items()}}) is None
    del state['1.num_batches_tracked']  # files of old torch versions have none
    assert misfit(model, {'state_dict': {**state, 'more': torch.ones(1)}}) is None
    less = {key: value for key, value in state.items() if key != '0.bias'}
    assert misfit(model, less) == '1 of its 6 entries are missing, for example 0.bias'
    assert misfit(model, less, whole=False) is None
    other = {**state, '0.weight': torch.ones(5, 2)}
    assert misfit(model, other) == '1 have another shape, for example 0.weight: (5, 2) instead of (3, 2)'
    for whole in (True, False):
        assert 'not one of its 6 entries is there' in misfit(model, {'conv.weight': torch.ones(1)}, whole)


def test_curves_are_plain_and_come_back(tmp_path):
    curve = HistoryBuffer([1.5, 2.5], [1, 2], 10)
    hub = dict(log_scalars={'train/loss': curve}, runtime_info={'best': np.float64(0.5), 'x': [np.arange(2)]})
    hub['resumed_keys'] = {'train/loss': True}
    save(tmp_path / 'a.pth', message_hub=plain_curves(hub))
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)['message_hub']
    assert loaded['runtime_info']['best'] == 0.5
    assert loaded['runtime_info']['x'][0].tolist() == [0, 1]
    back = host_curves(loaded)['log_scalars']['train/loss']
    assert [part.tolist() for part in back.data] == [part.tolist() for part in curve.data]
    assert back.mean() == curve.mean() == pytest.approx(4 / 3)  # mmengine: the sum over the counts
    assert host_curves(hub)['log_scalars']['train/loss'] is curve
