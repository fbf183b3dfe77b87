# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import os
import subprocess
import sys

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
