# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""docs/papers.md: every file is there; every config makes a step on a small set in the real one's layout."""

from __future__ import annotations

import hashlib
import pickle
from functools import partial
from pathlib import Path

import dataset_worlds as worlds
import numpy as np
import papers_page
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import nn

from mmentropy.segmentation import SeedPipeline

CONFIGS = papers_page.configs()
RUNS = [path for path in CONFIGS if not path.stem.endswith('_seg')]
#: Side of the images that the networks see: whole pipelines, small networks.
SIDE = 64


def imagenet(root: Path) -> Path:
    """mmpretrain's layout: folders of images, and meta/train.txt."""
    for split in ('train', 'val'):
        for i in range(2):
            worlds.photo(root / f'{split}/n0144076{i}/{i}.JPEG', seed=i)
        worlds.text(root / f'meta/{split}.txt', 'n01440760/0.JPEG 0', 'n01440761/1.JPEG 1')
    return root


def cifar100(root: Path) -> Path:
    """The Python version's files; their check sums are told to the reader."""
    from mmpretrain.datasets import CIFAR100

    folder = root / CIFAR100.base_folder
    folder.mkdir(parents=True)
    sums = {}
    images = np.random.default_rng(0).integers(0, 256, (4, 3 * 32 * 32), dtype=np.uint8)
    for name in ('train', 'test'):
        sums[name] = dump(folder / name, {'data': images, 'fine_labels': [0, 1, 2, 99]})
    sums['meta'] = dump(folder / 'meta', {'fine_label_names': [f'class {i}' for i in range(100)]})
    CIFAR100.train_list, CIFAR100.test_list = [['train', sums['train']]], [['test', sums['test']]]
    CIFAR100.meta = {**CIFAR100.meta, 'md5': sums['meta']}
    return root


def dump(path: Path, content: dict) -> str:
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


#: type of a data set → what makes a small one.
WORLDS = {
    'CUBLocalization': worlds.cub,
    'ImageNetLocalization': worlds.ilsvrc,
    'OpenImages30k': worlds.openimages,
    'OxfordFlowers102': worlds.flowers,
    'VOC2012MultiLabel': worlds.voc,
    'GlaS': worlds.glas,
    'Camelyon16Patches': worlds.camelyon,
    'ImageNet': imagenet,
    'CIFAR100': cifar100,
}


@pytest.fixture(scope='module')
def root_of(tmp_path_factory):
    """Where the small set of a data set's settings lies, made on first use."""
    made: dict[str, Path] = {}

    def find(data: dict) -> Path:
        kind = data['type'].rpartition('.')[2]
        name = data.get('preset', kind)
        if name not in made:
            make = partial(worlds.image_folders, preset=name) if kind == 'ImageFolders' else WORLDS[kind]
            made[name] = make(tmp_path_factory.mktemp(name.replace('/', '_')))
        return made[name]

    return find


@pytest.fixture(scope='module', autouse=True)
def _the_hosts_check_sums():
    from mmpretrain.datasets import CIFAR100

    kept = CIFAR100.train_list, CIFAR100.test_list, CIFAR100.meta
    yield
    CIFAR100.train_list, CIFAR100.test_list, CIFAR100.meta = kept


def shrink(part: object, narrow: bool = True) -> None:
    """The config's network without downloads, with few channels where an option sets them; its structure stays."""
    if isinstance(part, list):
        for one in part:
            shrink(one, narrow)
    if not isinstance(part, dict):
        return
    if isinstance(part.get('init_cfg'), dict) and part['init_cfg'].get('type') == 'Pretrained':
        part['init_cfg'] = None
    kind = str(part.get('type')).rpartition('.')[2]
    if narrow and kind in ('ResNet', 'SEResNet', 'PreActResNet'):
        part.update(base_channels=8, stem_channels=8)
    elif kind in ('AlexNetGAP', 'VGGGAP', 'GoogLeNetGAP'):
        part.update(out_channels=16)
    elif kind == 'NIN':
        part.update(base_channels=12)
    elif kind == 'WideResNet':
        part.update(widen_factor=1)
    elif kind == 'UNet':
        part.update(base_channels=8)
    elif kind == 'FCNHead':
        part.update(in_channels=8, channels=8)
    elif narrow and kind in ('CAMHead', 'WildcatHead', 'DeepMILHead'):
        part.pop('in_channels', None)
    for one in part.values():
        shrink(one, narrow)


def one_step(cfg: Config, root: Path | None) -> tuple[float, list[str]]:
    """The loss of a training step on two images, and the parameters that moved."""
    loader = cfg.train_dataloader.copy()
    loader.update(num_workers=0, persistent_workers=False, batch_size=2)
    if root is not None:
        loader.dataset.data_root = str(root)
    elif 'length' in loader.dataset:
        loader.dataset.length = 4
    neck = cfg.model.get('neck') or {}
    shrink(cfg.model, narrow='in_channels' not in neck)
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        batch = next(iter(Runner.build_dataloader(loader, seed=0)))
        model = MODELS.build(cfg.model)
        data = model.data_preprocessor(batch, training=True)
    if cfg.default_scope == 'mmpretrain' and data['inputs'].shape[-1] > SIDE:
        data['inputs'] = nn.functional.interpolate(data['inputs'], (SIDE, SIDE), mode='area')
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    optimizer.step()
    return loss.item(), [name for name, value in model.named_parameters() if not torch.equal(value, before[name])]


def test_the_page_is_read():
    assert papers_page.expand('a_{b,c}{d,}') == ['a_bd', 'a_b', 'a_cd', 'a_c']
    assert len(papers_page.rows()) > 25
    assert len(CONFIGS) > 150
    assert {status for _, _, status in papers_page.rows()} == papers_page.STATUS


def test_every_file_of_the_page_is_there():
    missing = {name for _, files, _ in papers_page.rows() for name in files if not (papers_page.ROOT / name).is_file()}
    assert missing == set()
    assert [experiment for experiment, files, _ in papers_page.rows() if not files] == []


@pytest.mark.parametrize('path', RUNS, ids=[path.stem for path in RUNS])
def test_config_makes_a_step(path, root_of):
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(str(path))
    data = cfg.train_dataloader.dataset
    drawn = data.type == 'mmentropy.PartShapes'
    loss, moved = one_step(cfg, None if drawn else root_of(data))
    assert np.isfinite(loss)
    assert moved


@pytest.mark.parametrize('path', sorted(set(CONFIGS) - set(RUNS)), ids=lambda path: path.stem)
def test_pipeline_of_the_page_builds(path, tmp_path):
    assert SeedPipeline.from_config(path, tmp_path, device='cpu').stages
