# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A checkpoint that would run code, given to every tool and to everything public that reads weights: nothing runs."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner.checkpoint import load_checkpoint
from PIL import Image
from run_tool import TOOLS, run_tool
from small_classifier import CONFIG

from mmentropy.apis import Localizer
from mmentropy.apis.export import export_onnx
from mmentropy.engine import build_runner, load_config, train
from mmentropy.engine.checkpoint import ALLOW, FORCE, read_meta, trust_checkpoints
from mmentropy.engine.clip_text import load_clip
from mmentropy.engine.model_loading import load_model
from mmentropy.experiments.analysis import open_run
from mmentropy.experiments.comparison import TRAINING_KEYS, Run, _fingerprint
from mmentropy.experiments.demo import read_weights
from mmentropy.segmentation.training import load_host_model

DEMO = str(TOOLS.parent / 'configs/demo/resnet18_partshapes.py')
VGG = """
model = dict(type='mmpretrain.ImageClassifier', backbone=dict(type='mmentropy.VGGGAP', init_cfg={init_cfg!r}))
"""


class Payload:
    """Pickles to a call that makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def world(tmp_path, monkeypatch) -> Path:
    """The checkpoint, an image, configs, and folders of runs whose weights it is; the process has decided nothing."""
    for name in (FORCE, ALLOW):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('mmentropy.engine.checkpoint._trusted', False)
    monkeypatch.delenv('MMENTROPY_DEBUG', raising=False)
    torch.save({'state_dict': {'a': torch.ones(1)}, 'meta': Payload(tmp_path / 'canary')}, tmp_path / 'evil.pth')
    (tmp_path / 'small.py').write_text(CONFIG)
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'evil.pth'))
    (tmp_path / 'vgg.py').write_text(VGG.format(init_cfg=init_cfg))
    (tmp_path / 'frozen.py').write_text(f'_base_ = {DEMO!r}\nmodel = dict(freeze_backbone=True)\n')
    Image.new('RGB', (32, 32)).save(tmp_path / 'a.png')
    (tmp_path / 'run').mkdir()
    load_config(DEMO).dump(tmp_path / 'run/config.py')
    for name in ('epoch_1.pth', 'model.pth'):
        shutil.copy(tmp_path / 'evil.pth', tmp_path / 'run' / name)
    (tmp_path / 'run/last_checkpoint').write_text('epoch_1.pth')
    return tmp_path


def canary(world: Path) -> bool:
    return (world / 'canary').exists()


def test_the_checkpoint_runs_code_where_nobody_looks(world):
    torch.load(world / 'evil.pth', weights_only=False)
    assert canary(world)


INIT = [
    '--cfg-options',
    '+model.backbone.init_cfg.type=Pretrained',
    '+model.backbone.init_cfg.checkpoint={world}/evil.pth',
]
EVIL = '{world}/evil.pth'
#: Every way in: tool, arguments.
WAYS = [
    ('train.py', [DEMO, '--work-dir', '{world}/new', *INIT]),
    ('train.py', [DEMO, '--work-dir', '{world}/new', '--cfg-options', f'load_from={EVIL}']),
    ('train.py', [DEMO, '--work-dir', '{world}/new', '--resume', EVIL]),
    ('train.py', [DEMO, '--work-dir', '{world}/run', '--resume']),
    ('test.py', [DEMO, EVIL, '--work-dir', '{world}/new']),
    ('report.py', ['{world}/run', '--again']),
    ('report.py', ['{world}/run', '--again', '--checkpoint', EVIL]),
    ('localize.py', ['{world}/small.py', '{world}/a.png', '--weights', EVIL, '--out-dir', '{world}/new']),
    ('export_onnx.py', ['{world}/small.py', '{world}/new.onnx', '--weights', EVIL]),
    ('cache_features.py', ['{world}/frozen.py', '--out', '{world}/new', *INIT]),
    ('cache_features.py', ['{world}/frozen.py', '--join', EVIL, '{world}/new.pth']),
    ('demo.py', ['--work-dir', '{world}/new', *INIT]),
    ('demo.py', ['--image', '{world}/a.png', '--weights', EVIL, '--work-dir', '{world}/new']),
    ('explain.py', ['{world}/small.py', '{world}/a.png', '--weights', EVIL, '--out', '{world}/new.jpg']),
    ('visualization/methods_grid.py', [DEMO, '--work-dir', '{world}/compared', '--out', '{world}/new.png']),
    ('analysis_tools/faithfulness.py', [DEMO, '--weights', EVIL, '--out', '{world}/new']),
    ('analysis_tools/few_samples.py', [DEMO, '--work-dir', '{world}/new', '--per-class', '1', *INIT]),
    ('visualization/layer_maps.py', [DEMO, '{world}/a.png', '--weights', EVIL, '--out', '{world}/new.png']),
    ('analysis_tools/compare.py', [DEMO, '--work-dir', '{world}/new', *INIT]),
    (
        'analysis_tools/entropy_sweep.py',
        [DEMO, '--work-dir', '{world}/new', '--losses', 'er', '--lambdas', '1', *INIT],
    ),
    *(
        (f'analysis_tools/{tool}.py', [DEMO, *more, *weights])
        for tool, more in dict(
            class_units=['--class', '0', '--out', '{world}/new.png'],
            crop_and_classify=[],
            linear_probe=[],
            pattern_discovery=[],
        ).items()
        for weights in (['--random-weights', *INIT], ['--weights', EVIL])
    ),
]
#: Tools that read no weights, and three whose readers are tested below: the stages', CLIP's, Localizer's.
WITHOUT = {
    *(
        'browse_dataset.py',
        'doctor.py',
        'eval_maps.py',
        'print_config.py',
        'seg_pipeline.py',
        'embed_classes.py',
        'explore.py',
    ),
    *('analysis_tools/center_baseline.py', 'analysis_tools/error_analysis.py'),
    *('dataset_tools/check.py', 'dataset_tools/export_partshapes_voc.py', 'dataset_tools/prepare.py'),
}


def test_every_tool_is_tried():
    tools = {path.relative_to(TOOLS).as_posix() for path in TOOLS.rglob('*.py')}
    assert tools == {tool for tool, _ in WAYS} | WITHOUT


def compared(world: Path) -> None:
    """A finished run of a comparison, with the checkpoint for its weights."""
    run = Run('resnet18_partshapes', DEMO, 0, world / 'compared/resnet18_partshapes/seed0')
    run.directory.mkdir(parents=True)
    shutil.copy(world / 'evil.pth', run.directory / 'epoch_1.pth')
    mark = dict(fingerprint=_fingerprint(run.train_config(), TRAINING_KEYS), checkpoint='epoch_1.pth')
    (run.directory / 'trained.json').write_text(json.dumps(mark))


@pytest.mark.parametrize(('tool', 'arguments'), WAYS, ids=[f'{tool}-{" ".join(way)[-40:]}' for tool, way in WAYS])
def test_no_tool_runs_it(tool, arguments, world, monkeypatch):
    monkeypatch.setattr(
        'mmentropy.experiments.execution.process_context', lambda gpus: multiprocessing.get_context('fork')
    )
    # A logger of an earlier test of this process may hold a stream that is closed by now; not what is tested here.
    monkeypatch.setattr('logging.raiseExceptions', False)
    compared(world)
    done = run_tool(tool, *(text.format(world=world) for text in arguments))
    assert not canary(world)
    assert done.code in (1, 2)
    assert 'Traceback' not in done.err
    said = done.err + ''.join(path.read_text() for path in world.glob('new/**/error.txt'))
    assert '.pth' in said or 'weights' in said, said


def init_weights(world: Path) -> None:
    import mmentropy.models  # noqa: F401

    MODELS.build(Config.fromfile(str(world / 'vgg.py')).model).init_weights()


def runner_of(world: Path, **options) -> Runner:
    cfg = load_config(DEMO)
    cfg.merge_from_dict({'work_dir': str(world / 'new'), 'train_dataloader.dataset.length': 8, **options})
    return build_runner(cfg)


def trained(world: Path) -> None:
    cfg = load_config(DEMO)
    cfg.merge_from_dict({'work_dir': str(world / 'run'), 'resume': True})
    train(cfg)


def compared_run(world: Path) -> None:
    compared(world)
    run = Run('resnet18_partshapes', DEMO, 0, world / 'compared/resnet18_partshapes/seed0')
    run.execute()


APIS: dict[str, Callable[[Path], object]] = {
    'Localizer': lambda world: Localizer(str(world / 'small.py'), world / 'evil.pth', 'cpu'),
    'load_model': lambda world: load_model(str(world / 'small.py'), world / 'evil.pth', 'cpu'),
    'export_onnx': lambda world: export_onnx(load_model(str(world / 'small.py'), world / 'evil.pth', 'cpu'), 'o.onnx'),
    'open_run': lambda world: open_run(world / 'small.py', str(world / 'evil.pth')),
    'open_run of an init_cfg': lambda world: open_run(world / 'vgg.py', None, random_weights=True),
    'init_weights': init_weights,
    'load_clip': lambda world: load_clip(torch.nn.Linear(1, 1), world / 'evil.pth'),
    'demo weights': lambda world: read_weights(world / 'evil.pth'),
    'load_host_model': lambda world: load_host_model(world / 'run', 'cpu'),
    'the host loader': lambda world: CheckpointLoader.load_checkpoint(str(world / 'evil.pth')),
    'the host function': lambda world: load_checkpoint(torch.nn.Linear(1, 1), str(world / 'evil.pth')),
    'load_from': lambda world: runner_of(world, load_from=str(world / 'evil.pth')).train(),
    'test': lambda world: runner_of(world, load_from=str(world / 'evil.pth')).test(),
    'resume': lambda world: runner_of(world, load_from=str(world / 'evil.pth'), resume=True).train(),
    'train': trained,
    'a comparison': compared_run,
}


@pytest.mark.parametrize('name', APIS)
def test_no_interface_runs_it(name, world):
    with pytest.raises(Exception, match=r'evil\.pth|epoch_1\.pth|model\.pth'):
        APIS[name](world)
    assert not canary(world)


def test_what_says_nothing_runs_nothing_either(world):
    assert read_meta(world / 'evil.pth') == {}
    assert not canary(world)


def test_reading_leaves_the_callers_process_as_it_was(world):
    """A user's own torch.load is his affair, before and after."""
    before = copy.copy(dict(os.environ))
    with pytest.raises(Exception, match='evil'):
        init_weights(world)
    assert dict(os.environ) == before


def test_who_trusts_it_has_it_run(world):
    """The payload gives no checkpoint of the model: it is loaded all the same, and refused for what it lacks."""
    try:
        with pytest.raises(Exception, match='parameters are not in the checkpoint'):
            load_model(str(world / 'small.py'), world / 'evil.pth', 'cpu', trust_checkpoint=True)
        assert canary(world)
        (world / 'canary').rmdir()
        done = run_tool(
            'analysis_tools/class_units.py',
            str(world / 'vgg.py'),
            '--class',
            '0',
            '--random-weights',
            '--trust-checkpoint',
        )
        assert canary(world)
        assert done.code == 2
    finally:
        trust_checkpoints(False)
