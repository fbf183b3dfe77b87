# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Without a network: what was wanted, from where, and how to give a file."""

from __future__ import annotations

from http.client import IncompleteRead
from urllib.error import URLError

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as host

from mmentropy.engine.downloads import DownloadError
from mmentropy.engine.model_loading import load_model

ADDRESS = 'https://nowhere.invalid/models/resnet18-abc.pth?x=1'
BACKBONE = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)


@pytest.fixture(params=[URLError(OSError('Name or service not known')), IncompleteRead(b''), TimeoutError('slow')])
def offline(monkeypatch, request):
    def load_url(*args, **kwargs):
        raise request.param

    monkeypatch.setattr(host, 'load_url', load_url)


@pytest.mark.usefixtures('offline')
@pytest.mark.parametrize('name', [ADDRESS, 'torchvision://resnet18'])
def test_a_download_that_fails_is_one_sentence(name):
    with pytest.raises(DownloadError) as error:
        CheckpointLoader.load_checkpoint(name)
    said = str(error.value)
    assert said.startswith(f'the weights {name} could not be downloaded (')
    assert '--weights FILE' in said
    assert f'{torch.hub.get_dir()}/checkpoints' in said
    assert said.endswith('as resnet18-abc.pth') == (name == ADDRESS)


@pytest.mark.usefixtures('offline')
def test_pretrained_backbones_and_weights_say_it_too():
    init = dict(type='Pretrained', checkpoint='torchvision://resnet18')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(BACKBONE, init_cfg=init))
    with pytest.raises(DownloadError, match='torchvision://resnet18 could not be downloaded'):
        model.init_weights()
    config = Config(dict(model=dict(type='ImageClassifier', backbone=BACKBONE), default_scope='mmpretrain'))
    with pytest.raises(DownloadError, match=r'nowhere\.invalid.* could not be downloaded'):
        load_model(config, ADDRESS, 'cpu')


def test_a_model_that_torchvision_does_not_have():
    with pytest.raises(ValueError, match='torchvision://resnet19: there is no model of this name'):
        CheckpointLoader.load_checkpoint('torchvision://resnet19')


def test_local_files_are_not_touched(tmp_path):
    torch.save({'a': torch.ones(2)}, tmp_path / 'w.pth')
    assert CheckpointLoader.load_checkpoint(str(tmp_path / 'w.pth'))['a'].tolist() == [1, 1]
    with pytest.raises(FileNotFoundError, match=r'none\.pth'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'none.pth'))
