# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A training stage leaves resuming to the run: it neither removes a checkpoint nor says which one to go on from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from mmentropy.engine.startup import choose_checkpoint, load_config
from mmentropy.segmentation import Context
from mmentropy.segmentation.training import (
    Classify,
    checkpoints_of,
    host_command,
    host_environment,
    last_step,
    showing_progress,
)

CONFIG = """
model = dict(type='ImageClassifier')
train_dataloader = dict(dataset=dict(type='VOCClassification', data_root='nowhere'))
"""


@pytest.fixture
def stage(tmp_path) -> Classify:
    (tmp_path / 'run.py').write_text(CONFIG)
    return Classify(config=str(tmp_path / 'run.py'))


def save(path: Path, epoch: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({'state_dict': {'weight': torch.full((3,), float(epoch))}}, path)
    (path.parent / 'last_checkpoint').write_text(str(path))


class Host:
    """Stands for the training process: notes what it would resume from, and writes the end of the training."""

    def __init__(self, folder: Path, last: int) -> None:
        self.folder, self.last = folder, last

    def __call__(self, command: list[str], **_: object) -> int:
        cfg = load_config(command[-1])
        choose_checkpoint(cfg)
        self.resumed = Path(cfg.load_from).name if cfg.get('load_from') else None
        save(self.folder / f'epoch_{self.last}.pth', self.last)
        return 0


@pytest.fixture
def start(stage, voc, tmp_path, monkeypatch):
    """Runs the stage; gives what it resumed from and the weights that it left."""

    def run(last: int = 9) -> tuple[str | None, float]:
        host = Host(tmp_path / 'work/classify', last)
        monkeypatch.setattr('mmentropy.segmentation.training.run_group', host)
        stage.run(Context(tmp_path / 'work', voc, device='cpu'))
        left = torch.load(host.folder / 'model.pth', weights_only=True)['state_dict']['weight']
        return host.resumed, left[0].item()

    return run


def test_an_interrupted_run_goes_on_from_where_it_stopped(start, tmp_path):
    folder = tmp_path / 'work/classify'
    save(folder / 'epoch_1.pth', 1)
    save(folder / 'interrupted.pth', 2)
    assert start() == ('interrupted.pth', 9.0)
    assert sorted(path.name for path in folder.glob('*.pth')) == [
        'epoch_1.pth', 'epoch_9.pth', 'interrupted.pth', 'model.pth'
    ]  # fmt: skip


def test_the_mark_stays_without_a_numbered_checkpoint(start, tmp_path):
    save(tmp_path / 'work/classify/interrupted.pth', 2)
    assert start() == ('interrupted.pth', 9.0)


def test_a_good_checkpoint_survives_a_lack_of_memory(start, tmp_path, monkeypatch):
    folder = tmp_path / 'work/classify'
    save(folder / 'epoch_1.pth', 1)
    load, calls = torch.load, []

    def short_of_memory(*args, **kwargs):
        calls.append(args)
        if kwargs.get('mmap'):
            raise MemoryError
        return load(*args, **kwargs)

    monkeypatch.setattr(torch, 'load', short_of_memory)
    assert start() == ('epoch_1.pth', 9.0)
    assert (folder / 'epoch_1.pth').is_file()
    assert calls


def test_half_a_checkpoint_is_passed_over_and_stays(start, tmp_path, capsys):
    folder = tmp_path / 'work/classify'
    save(folder / 'epoch_1.pth', 1)
    save(folder / 'epoch_2.pth', 2)
    half = (folder / 'epoch_2.pth').read_bytes()[:300]
    (folder / 'epoch_2.pth').write_bytes(half)
    assert start() == ('epoch_1.pth', 9.0)
    assert (folder / 'epoch_2.pth').read_bytes() == half
    assert 'epoch_2.pth is no whole checkpoint and is passed over' in capsys.readouterr().err


def test_no_checkpoint_at_the_end_is_said(start, monkeypatch):
    monkeypatch.setitem(Host.__call__.__globals__, 'save', lambda path, epoch: None)
    with pytest.raises(ValueError, match='classify: the training ended and left no whole checkpoint'):
        start()


def test_every_training_is_seeded_by_the_epoch(stage, voc, tmp_path):
    """What a run that was killed needs to end with the weights of one that was left alone."""
    cfg = stage.build(Context(tmp_path / 'work', voc, device='cpu'))
    assert [hook['type'] for hook in cfg.custom_hooks] == ['mmentropy.EpochSeedHook']
    assert cfg.train_dataloader.persistent_workers is False


def test_what_a_training_depends_on(stage, voc, tmp_path):
    ctx = Context(tmp_path / 'work', voc, device='cpu')
    text = CONFIG.replace("'ImageClassifier')", f"'ImageClassifier', init_cfg=dict(checkpoint='{tmp_path}/w.pth'))")
    (tmp_path / 'run.py').write_text(text)
    (tmp_path / 'w.pth').write_bytes(b'a')
    before = stage.depends(ctx)
    assert set(before) == {'the list of images', 'the images', 'the labels', f'{tmp_path}/w.pth'}
    (tmp_path / 'w.pth').write_bytes(b'b')
    changed = [name for name, value in stage.depends(ctx).items() if before[name] != value]
    assert changed == [f'{tmp_path}/w.pth']
    assert list(checkpoints_of([dict(a=dict(init_cfg=dict(checkpoint='x.pth'))), dict(init_cfg=dict(type='T'))])) == [
        'x.pth'
    ]


def test_several_processes_share_the_batch(stage, voc, tmp_path, monkeypatch):
    ctx = Context(tmp_path / 'work', voc, device='cpu')
    alone = stage.fingerprint(ctx)
    many = Classify(config=stage.config, options={'train_dataloader': {'batch_size': 12}}, processes=3)
    cfg = many.build(ctx)
    assert (cfg.train_dataloader.batch_size, cfg.launcher) == (4, 'pytorch')
    assert 'launcher' not in stage.build(ctx)  # a training of one process is what it was
    assert many.fingerprint(ctx) != alone
    command = host_command(tmp_path / 'config.py', 3)
    assert command[1:3] == ['-m', 'torch.distributed.run']
    assert command[command.index('--nproc-per-node') :] == [
        *('--nproc-per-node', '3', '-m', 'mmentropy.segmentation.host_run', str(tmp_path / 'config.py'))
    ]  # fmt: skip
    many.processes = 5
    with pytest.raises(ValueError, match='classify: 5 processes cannot share a batch of 12 images evenly'):
        many.build(ctx)
    with pytest.raises(ValueError, match='processes is how many train together, at least 1, got 0'):
        Classify(processes=0)
    with pytest.raises(ValueError, match="launcher is one of torchrun, slurm, got 'mpi'"):
        Classify(launcher='mpi')
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(ValueError, match='srun, which is not here'):
        host_command(tmp_path / 'config.py', 3, launcher='slurm')


def test_a_training_under_torchrun_is_a_run_of_its_own(monkeypatch):
    for name in ('RANK', 'LOCAL_RANK', 'MASTER_PORT', 'TORCHELASTIC_RUN_ID', 'LOCAL_SCRATCH'):
        monkeypatch.setenv(name, '1')
    found = host_environment()
    assert 'LOCAL_SCRATCH' in found
    assert not {'RANK', 'LOCAL_RANK', 'MASTER_PORT', 'TORCHELASTIC_RUN_ID'} & set(found)


def test_missing_images_are_counted_before_anything_is_trained(start, voc, tmp_path):
    """A list that names images which are not there costs a sentence, not an epoch."""
    import shutil
    from dataclasses import replace

    root = tmp_path / 'VOC2012'
    shutil.copytree(voc.root, root)
    data = replace(voc, root=str(root))
    for key in data.ids()[3:5]:
        data.image_path(key).unlink()
    stage = Classify(config=str(tmp_path / 'run.py'))
    with pytest.raises(
        FileNotFoundError, match=rf'classify: 2 of 10 listed images .* first is .*{data.ids()[3]}\.jpg;'
    ):
        stage.run(Context(tmp_path / 'other', data, device='cpu'))
    assert not (tmp_path / 'other/classify/config.py').exists()


@pytest.mark.parametrize(
    ('text', 'step'),
    [
        ('', ''),
        ('Epoch(train)  [3][ 10/25]  lr: 1.0e-01  eta: 0:10:22  time: 0.6\n', 'epoch 3, 10/25, 0:10:22 left'),
        ('Iter(train) [ 50/600]  lr: 1.0e-01  eta: 1 day, 0:10:22  time: 1\n', 'iteration 50/600, 1 day, 0:10:22 left'),
        ('Epoch(train)  [3][10/25]\nEpoch(train)  [4][ 5/25]\nsaved', 'epoch 4, 5/25'),
    ],
)
def test_where_a_log_says_that_the_training_is(text, step):
    assert last_step(text) == step


def test_progress_is_shown_with_the_log_s_path(tmp_path, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(
        'mmentropy.segmentation.training.Progress.update', lambda *_, description: shown.append(description)
    )
    log = tmp_path / 'train.log'
    log.write_text('Iter(train) [599/600] of an earlier start\n')
    with showing_progress(log, 'segment', quiet=False, every=0.01):
        with open(log, 'a') as file:
            file.write('Iter(train) [ 50/600]  lr: 0.1\n')
        for _ in range(500):
            if shown:
                break
            time.sleep(0.01)
    assert shown[0] == f'segment: iteration 50/600 (log: {log})'
