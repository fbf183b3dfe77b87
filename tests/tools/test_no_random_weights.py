# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Figures and maps of random weights look like any others: no tool makes them unless it is told to."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from run_tool import run_tool
from small_classifier import CONFIG

from mmentropy.apis import Localizer
from mmentropy.engine.model_loading import load_model

TOOLS = {
    'localize.py': ['{config}', '{folder}/a.png', '--out-dir', '{folder}/out'],
    'export_onnx.py': ['{config}', '{folder}/out.onnx'],
    'analysis_tools/linear_probe.py': ['{config}'],
    'analysis_tools/crop_and_classify.py': ['{config}'],
    'analysis_tools/class_units.py': ['{config}', '--class', '0', '--out', '{folder}/out.png'],
    'analysis_tools/pattern_discovery.py': ['{config}', '--out', '{folder}/out.json'],
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text(CONFIG)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / 'a.png')
    return path


@pytest.mark.parametrize('tool', TOOLS)
def test_a_tool_refuses_in_one_sentence_and_writes_nothing(tool, config, tmp_path):
    done = run_tool(tool, *(text.format(config=config, folder=tmp_path) for text in TOOLS[tool]))
    assert done.code == 2
    assert f'error: {config}: without weights every number would be random; name a checkpoint' in done.err
    assert '--random-weights' in done.err
    assert not list(tmp_path.glob('out*'))


def test_the_library_refuses_too_unless_told(config):
    for model in (config, Config.fromfile(str(config)), 'resnet18_8xb32_in1k'):
        with pytest.raises(ValueError, match='without weights every number would be random'):
            Localizer(model, device='cpu')
    network = load_model(config, device='cpu', random_weights=True).model
    # A module is the caller's affair.
    assert Localizer(network).loaded.model is network


def test_pretrained_weights_that_there_are_not(config):
    with pytest.raises(ValueError, match="'pretrained' weights belong to a model's name"):
        Localizer(config, weights='pretrained')
    with pytest.raises(ValueError, match='mmpretrain publishes no weights of this model'):
        Localizer('hivit-tiny-p16_16xb64_in1k', weights='pretrained')
