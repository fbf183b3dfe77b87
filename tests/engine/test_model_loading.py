# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a config says about its network's inputs, and that reading a config leaves it as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip('mmpretrain', reason='mmpretrain is not installed')

from mmcv.image import rescale_size
from mmengine.config import Config

from mmentropy.engine.model_loading import LoadedModel, _pipeline_size, imagenet_names, load_model

RESNET = {'type': 'ResNet', 'depth': 18, 'base_channels': 8, 'stem_channels': 8}
SEGMENTOR = {
    'type': 'EncoderDecoder',
    'backbone': RESNET,
    'decode_head': {
        **{'type': 'FCNHead', 'in_channels': 64, 'in_index': 3, 'channels': 8, 'num_convs': 1, 'num_classes': 4},
        **{'norm_cfg': {'type': 'BN'}, 'loss_decode': {'type': 'CrossEntropyLoss'}},
    },
    'test_cfg': {'mode': 'whole'},
}
CLASSIFIER = {
    **{'backbone': RESNET, 'neck': {'type': 'GlobalAveragePooling'}},
    'head': {'type': 'LinearClsHead', 'num_classes': 4, 'in_channels': 64, 'loss': {'type': 'CrossEntropyLoss'}},
}


def config_of(kind: str, **preprocessor) -> Config:
    """A small network, by the host that it comes from."""
    if kind == 'EncoderDecoder':
        settings = {'type': 'SegDataPreProcessor', 'mean': [0] * 3, 'std': [255] * 3, **preprocessor}
        return Config({'default_scope': 'mmseg', 'data_preprocessor': settings, 'model': copy.deepcopy(SEGMENTOR)})
    model = {'type': kind, **copy.deepcopy(CLASSIFIER)}
    if kind == 'mmentropy.LocalizationClassifier':
        model['head'] = {'type': 'mmentropy.CAMHead', 'loss': {'type': 'CrossEntropyLoss'}}
    settings = {'num_classes': 4, 'mean': [0] * 3, 'std': [255] * 3, **preprocessor}
    return Config({'default_scope': 'mmpretrain', 'data_preprocessor': settings, 'model': model})


@pytest.mark.parametrize('kind', ['ImageClassifier', 'mmentropy.LocalizationClassifier', 'EncoderDecoder'])
def test_a_config_is_as_before_when_its_network_is_built(kind):
    config = config_of(kind)
    before = config.pretty_text
    first = load_model(config, device='cpu', random_weights=True).model
    assert config.pretty_text == before
    second = load_model(config, device='cpu', random_weights=True).model
    assert str(second) == str(first)


@pytest.mark.parametrize(
    ('test', 'train', 'expected'),
    [
        ([{'type': 'ResizeEdge', 'scale': 256}, {'type': 'CenterCrop', 'crop_size': 224}], [], ((224, 224), False)),
        ([{'type': 'Resize', 'scale': (96, 64)}], [{'type': 'RandomCrop', 'crop_size': 32}], ((64, 96), False)),
        ([{'type': 'Resize', 'scale': (96, 64), 'keep_ratio': False}], [], ((64, 96), False)),
        ([{'type': 'Resize', 'scale': (2048, 512), 'keep_ratio': True}], [], ((512, 2048), True)),
        ([{'type': 'mmseg.Resize', 'scale': (64, 96), 'keep_ratio': True}], [], ((96, 64), True)),
        (
            [{'type': 'Resize', 'scale': (96, 64), 'keep_ratio': True}, {'type': 'CenterCrop', 'crop_size': (32, 48)}],
            [],
            ((32, 48), False),
        ),
        ([{'type': 'ResizeEdge', 'scale': 100}], [], ((100, 800), True)),
        ([{'type': 'ResizeEdge', 'scale': 100, 'edge': 'long'}], [], ((100, 100), True)),
        ([{'type': 'LoadImageFromFile'}], [{'type': 'RandomCrop', 'crop_size': 64}], ((64, 64), False)),
        ([], [{'type': 'RandomResizedCrop', 'scale': 160}, {'type': 'RandomFlip'}], ((160, 160), False)),
        ([], [], None),
    ],
)
def test_input_size_is_read_from_the_pipelines(test, train, expected):
    config = {'test_dataloader': {'dataset': {'dataset': {'pipeline': test}}}}
    config['train_dataloader'] = {'dataset': {'pipeline': train}}
    assert _pipeline_size(config) == expected


@pytest.mark.parametrize('scale', [(2048, 512), (512, 2048), (640, 640)])
def test_proportions_are_kept_as_the_hosts_resize_keeps_them(scale):
    loaded = LoadedModel(nn.Identity(), scale[::-1], keep_ratio=True)
    rng = np.random.default_rng(0)
    for height, width in [(512, 683), (683, 512), (100, 300), *rng.integers(200, 900, (20, 2)).tolist()]:
        expected = rescale_size((width, height), scale)[::-1]
        assert loaded.input_size((height, width)) == expected
    assert loaded.input_size((10, 40_000)) == (32, max(scale))
    loaded.fix_size(96)
    assert loaded.input_size((100, 300)) == (96, 96)


@pytest.mark.parametrize(('edge', 'expected'), [('short', (100, 150)), ('long', (66, 100))])
def test_one_edge_of_mmpretrain(edge, expected):
    from mmpretrain.datasets import ResizeEdge

    size, keep_ratio = _pipeline_size(
        {'test_dataloader': {'dataset': {'pipeline': [{'type': 'ResizeEdge', 'scale': 100, 'edge': edge}]}}}
    )
    theirs = ResizeEdge(100, edge)({'img': np.zeros((200, 300, 3), np.uint8)})['img'].shape[:2]
    assert theirs == expected
    ours = LoadedModel(nn.Identity(), size, keep_ratio=keep_ratio).input_size((200, 300))
    assert np.abs(np.subtract(ours, theirs)).max() <= 1  # they round down


def test_images_of_one_input_size_share_a_batch_and_results_keep_their_order():
    loaded = LoadedModel(nn.Identity(), (32, 64), mean=(0,) * 3, std=(1,) * 3, keep_ratio=True)
    images = [np.full((*shape, 3), i, np.uint8) for i, shape in enumerate([(32, 64), (64, 64), (16, 32), (32, 32)])]
    shapes = []

    def read(inputs: torch.Tensor) -> list[float]:
        shapes.append(tuple(inputs.shape))
        return (inputs.mean((1, 2, 3)) * 255).tolist()

    assert loaded.each(images, read) == pytest.approx([0, 1, 2, 3])
    assert shapes == [(2, 3, 32, 64), (2, 3, 32, 32)]
    assert loaded.each([], read) == []
    with pytest.raises(ValueError, match='read images of several by each'):
        loaded.inputs(images)


def test_a_preprocessor_that_pads_gets_inputs_that_need_no_padding():
    """mmseg's fills up to a multiple of size_divisor; maps of a padded input would cover more than the image."""
    loaded = load_model(config_of('EncoderDecoder', test_cfg={'size_divisor': 32}), device='cpu', random_weights=True)
    loaded.fix_size((70, 100))
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    assert loaded.input_size(image.shape[:2]) == (64, 96)
    expected = torch.from_numpy(image).permute(2, 0, 1)[None].flip(1) / 255  # BGR, as the hosts' images
    torch.testing.assert_close(loaded.inputs([image, image]), expected.expand(2, -1, -1, -1))
    loaded.fix_size(10)
    assert loaded.input_size((64, 96)) == (32, 32)


def test_a_preprocessor_of_one_size_says_which():
    loaded = load_model(config_of('EncoderDecoder', test_cfg={'size': (96, 128)}), device='cpu', random_weights=True)
    loaded.fix_size(64)
    with pytest.raises(ValueError, match=r'pads inputs of 64×64 to 96×128.*set the input size to 96×128'):
        loaded.inputs([np.zeros((64, 64, 3), np.uint8)])
    loaded.fix_size((96, 128))
    assert loaded.inputs([np.zeros((64, 64, 3), np.uint8)]).shape == (1, 3, 96, 128)


def test_networks_of_torchvision_and_timm_know_imagenets_names():
    from torchvision.models import mobilenet_v3_small

    names = imagenet_names(mobilenet_v3_small())
    assert (len(names), len(set(names))) == (1000, 1000)
    assert (names[0], names[207], names[517]) == ('tench', 'golden retriever', 'crane (517)')
    assert load_model(mobilenet_v3_small()).classes == names
    assert load_model(mobilenet_v3_small(num_classes=7)).classes is None
    assert load_model(nn.Sequential(nn.Flatten(), nn.Linear(12, 1000))).classes is None  # whose outputs mean anything
