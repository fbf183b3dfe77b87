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
    latest_whole,
    misfit,
    plain_curves,
    read_meta,
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


def numbered(folder, **iterations: int) -> None:
    folder.mkdir(exist_ok=True)
    for name, count in iterations.items():
        torch.save({'state_dict': {'w': torch.ones(99)}, 'meta': {'iter': count}}, folder / f'{name}.pth')


def test_without_its_mark_a_folder_resumes_from_what_has_come_furthest(tmp_path):
    """Neither names nor times say so: epochs and iterations side by side, and a signal's checkpoint."""
    numbered(tmp_path, epoch_2=8, iter_12=12, epoch_1=4, interrupted=10)
    numbered(tmp_path, model=99)  # not a run's
    assert latest_whole(tmp_path) == (tmp_path / 'iter_12.pth', [])
    (tmp_path / 'iter_12.pth').write_bytes(b'')
    assert latest_whole(tmp_path)[0] == tmp_path / 'interrupted.pth'
    (tmp_path / 'interrupted.pth').unlink()
    (tmp_path / 'iter_12.pth').unlink()
    assert latest_whole(tmp_path)[0] == tmp_path / 'epoch_2.pth'


@pytest.mark.parametrize('mark', ['', 'epoch_', 'nowhere/epoch_7.pth', '..', '\xff\x00', 'x' * 400])
def test_a_mark_that_says_nothing_is_passed_over(tmp_path, mark):
    numbered(tmp_path, epoch_1=4, epoch_2=8)
    (tmp_path / 'last_checkpoint').write_bytes(mark.encode('latin-1'))
    assert latest_whole(tmp_path) == (tmp_path / 'epoch_2.pth', [])


def test_a_copied_folder_resumes_from_itself(tmp_path):
    numbered(tmp_path / 'original', epoch_1=4, epoch_2=8)
    numbered(tmp_path / 'copy', epoch_1=4, epoch_2=8)
    for folder in ('original', 'copy'):
        (tmp_path / folder / 'last_checkpoint').write_text(str(tmp_path / 'original/epoch_2.pth'))
    assert latest_whole(tmp_path / 'copy')[0] == tmp_path / 'copy/epoch_2.pth'
    (tmp_path / 'copy/epoch_2.pth').unlink()
    assert latest_whole(tmp_path / 'copy')[0] == tmp_path / 'copy/epoch_1.pth'
    (tmp_path / 'copy/epoch_1.pth').unlink()
    assert latest_whole(tmp_path / 'copy') == (None, [])
    assert latest_whole(tmp_path / 'copy', tmp_path / 'original')[0] == tmp_path / 'original/epoch_2.pth'


def test_every_flipped_bit_of_a_tensor_is_told(tmp_path):
    """torch itself loads them without a word; one bit in every 40 bytes of the file, weights and directory."""
    path = tmp_path / 'a.pth'
    torch.save({'state_dict': {'w': torch.arange(200.0)}, 'meta': {'iter': 1}}, path)
    whole = path.read_bytes()
    expected = torch.load(path)
    assert broken(path) is None
    told = 0
    for place in range(0, len(whole), 40):
        data = bytearray(whole)
        data[place] ^= 4
        path.write_bytes(data)
        if broken(path):
            told += 1
            continue
        try:  # padding, or a field that nobody reads: then it must load as it was
            found = torch.load(path)
        except RuntimeError:
            continue
        assert torch.equal(found['state_dict']['w'], expected['state_dict']['w'])
        assert found['meta'] == expected['meta']
    assert told >= 800 // 40  # all of the tensor's
    data = bytearray(whole)
    data[whole.index(torch.tensor(150.0).numpy().tobytes())] ^= 1
    path.write_bytes(data)
    assert torch.load(path)['state_dict']['w'][150] != 150
    with pytest.raises(ValueError, match=r'a\.pth is no whole checkpoint: it is damaged, the checksum of \S+ is wrong'):
        check_whole(path)


def test_a_file_without_checksums_passes(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        numbered(tmp_path, a=1)
    finally:
        torch.serialization.set_crc32_options(True)
    assert broken(tmp_path / 'a.pth') is None


def test_what_a_checkpoint_says_of_its_training(tmp_path):
    hub = {'runtime_info': {'random_states': [1, 2]}}
    torch.save({'meta': {'iter': 7, 'cfg': 'a = 1'}, 'message_hub': hub}, tmp_path / 'a.pth')
    assert read_meta(tmp_path / 'a.pth') == {'iter': 7, 'cfg': 'a = 1', 'processes': 2}
    torch.save([1, 2], tmp_path / 'b.pth')
    (tmp_path / 'c.pth').write_bytes(b'PK no')
    torch.save({'meta': Payload(str(tmp_path / 'ran'))}, tmp_path / 'd.pth')
    assert [read_meta(tmp_path / f'{name}.pth') for name in 'bcde'] == [{}] * 4
    assert not (tmp_path / 'ran').exists()
