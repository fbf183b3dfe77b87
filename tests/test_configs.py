# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Every config loads and builds; a model runs one forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import papers_page
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmentropy.datasets.transforms.sample_loading import AS_STORED
from mmentropy.segmentation import SeedPipeline

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
PIPELINES = [path for path in CONFIGS if path.stem.endswith('_seg')]
#: tests/test_frozen_configs.py builds those of configs/frozen, small.
RUNS = [path for path in CONFIGS if path not in PIPELINES and path.parent.name != 'frozen']
#: tests/docs/test_papers.py makes a training step with the others.
OTHERS = [path for path in RUNS if path not in papers_page.configs()]


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT / 'configs')) for path in paths]


def without_downloads(model: dict) -> dict:
    """Pretrained weights live on the network: the forward pass does without them."""
    for value in list(model.values()):
        if isinstance(value, dict):
            without_downloads(value)
    init = model.get('init_cfg')
    if isinstance(init, dict) and init.get('type') == 'Pretrained':
        model['init_cfg'] = None
    if isinstance(model.get('pretrained'), str):
        model['pretrained'] = None
    return model


def test_basenames_are_unique():
    """A run's default folder is named after its config."""
    count = Counter(path.name for path in CONFIGS)
    assert {name for name, n in count.items() if n > 1} == set()


def test_pipelines_are_told_by_their_names():
    assert len(PIPELINES) == 18
    assert [path for path in CONFIGS if 'stages' in Config.fromfile(str(path))] == PIPELINES


@pytest.mark.parametrize('path', PIPELINES, ids=names(PIPELINES))
def test_pipeline_builds(path, tmp_path):
    """Every stage builds, and the configs that the stages train are there."""
    pipeline = SeedPipeline.from_config(path, tmp_path, device='cpu')
    assert [stage.name for stage in pipeline.stages] == list(Config.fromfile(str(path)).stages)
    trained = [settings['config'] for settings in pipeline.settings.values() if 'config' in settings]
    assert trained
    assert set(trained) <= {str(path) for path in CONFIGS if path not in PIPELINES}


def test_a_pipeline_is_changed_by_the_names_of_its_stages(tmp_path):
    voc = ROOT / 'configs/voc'
    plain, ours = (SeedPipeline.from_config(voc / f'resnet50_voc12{name}_seg.py', tmp_path) for name in ('', '_ent'))
    differ = [name for name in ours.settings if plain.settings[name] != ours.settings[name]]
    assert differ == ['classify']
    assert plain.settings['classify']['config'].endswith('configs/classification/resnet50_voc12_cls.py')


def loading_steps(node: object) -> Iterator[dict]:
    """Every transform of a config that reads an image file."""
    if isinstance(node, dict):
        if str(node.get('type')).rpartition('.')[2] == 'LoadImageFromFile':
            yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for item in node:
            yield from loading_steps(item)


def test_images_are_read_as_their_boxes_and_masks_are_stored():
    """mmcv's default turns an image by its EXIF tag, and leaves the annotation where it was. (The pipeline that two
    configs inherit from mmpretrain feeds on labels alone.)"""
    writers = [path for path in (ROOT / 'configs').rglob('*.py') if 'LoadImageFromFile' in path.read_text()]
    steps = [(path, step) for path in writers for step in loading_steps(Config.fromfile(str(path)).to_dict())]
    assert len(steps) >= 10
    assert not {str(path.relative_to(ROOT)) for path, step in steps if step.get('color_type') != AS_STORED}


@pytest.mark.parametrize('path', OTHERS, ids=names(OTHERS))
def test_config_builds_and_runs(path):
    cfg = Config.fromfile(str(path))
    init_default_scope(cfg.default_scope)
    model_cfg = without_downloads(cfg.model)
    if cfg.get('data_preprocessor'):
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(model_cfg).eval()
    size = 64 if 'small' in str(cfg.get('image_size', '')) or cfg.get('image_size', 224) == 64 else 96
    with torch.no_grad():
        out = model(torch.zeros(1, 3, size, size), mode='tensor')
    out = out[-1] if isinstance(out, tuple | list) else out
    assert torch.isfinite(out).all()
    num_classes = cfg.get('data_preprocessor', {}).get('num_classes')
    if cfg.default_scope == 'mmpretrain' and num_classes:
        assert out.shape == (1, num_classes)


@pytest.mark.parametrize('path', RUNS, ids=names(RUNS))
def test_only_pretrained_weights_are_fine_tuned(path):
    """A small rate, and a head ten times as fast as the backbone, are for a backbone that has learned already."""
    cfg = Config.fromfile(str(path))
    pretrained = "'Pretrained'" in repr(cfg.model.to_dict()) or cfg.get('load_from') or cfg.model.get('pretrained')
    faster_head = 'head' in cfg.optim_wrapper.get('paramwise_cfg', {}).get('custom_keys', {})
    assert pretrained or (cfg.optim_wrapper.optimizer.lr >= 0.01 and not faster_head)
