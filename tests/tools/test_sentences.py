# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Whatever a user types, a tool answers in a sentence and with exit code 2."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from run_tool import run_tool
from small_classifier import CONFIG

DEMO = 'configs/demo/resnet18_partshapes_ent.py'
PIPELINE = 'configs/voc/resnet18_partshapes_ent_seg.py'
LOCALIZE = ['localize.py', '{folder}/c.py', '{folder}/a.png', '--random-weights', '--out-dir', '{folder}/out']
TRAIN = ['train.py', DEMO, '--work-dir', '{folder}', '--cfg-options']
CASES = [
    ([*LOCALIZE, '--device', 'cuda'], "device 'cuda' cannot be used: "),
    ([*LOCALIZE, '--device', 'cud'], "device 'cud' is none that torch knows"),
    ([*LOCALIZE, '--input-size', '0'], 'argument --input-size: expected a whole number of 1 or more, got 0'),
    ([*LOCALIZE, '--input-size', '9', '9', '9'], '--input-size is a side, or height and width'),
    ([*LOCALIZE, '--scales', '0'], 'argument --scales: expected a number above 0'),
    ([*LOCALIZE, '--batch-size', '0'], 'argument --batch-size: expected a whole number of 1 or more'),
    (['seg_pipeline.py', PIPELINE, '--dry-run', '--device', 'cud'], "device 'cud' is none that torch knows"),
    (['export_onnx.py', '{folder}/c.py', '{folder}/o.onnx', '--input-size', '0'], 'argument --input-size: expected'),
    ([*TRAIN, 'model.nek.type=foo'], 'did you mean model.neck.type'),
    ([*TRAIN, 'model.neck.type=foo'], "there is no model 'foo'"),
    ([*TRAIN, 'model.neck.temprature=1'], 'did you mean model.neck.temperature'),
    ([*TRAIN, 'model.head.loss.type=CrossEntropyLoss'], 'builds CrossEntropyLoss, which got an unexpected keyword'),
    ([*TRAIN, 'model.neck'], 'expected key=value, got'),
    (['browse_dataset.py', DEMO, '--step', '0'], 'argument --step: expected'),
    (
        ['eval_maps.py', '{folder}', '--config', DEMO, '--eval-size', '0'],
        'error: --eval-size is a side, or height and width, in pixels from 1 to 8192, got 0',
    ),
    (['eval_maps.py', '{folder}', '--config', DEMO, '--eval-size', '1', '2', '3'], '--eval-size is a side'),
    (['eval_maps.py', '{folder}', '--config', DEMO, '--eval-size', '100000'], 'in pixels from 1 to 8192, got 100000'),
    (
        ['eval_maps.py', '{folder}', '--config', DEMO, '--cam-interval', '1e-9'],
        'the threshold interval must lie between 1e-05 and 1, got 1e-09',
    ),
    ([*LOCALIZE, '--input-size', '100000'], '--input-size is a side, or height and width, in pixels from 1 to 8192'),
]


@pytest.mark.parametrize(('command', 'message'), CASES, ids=[' '.join(case[0][-2:]) for case in CASES])
def test_a_sentence(command, message, tmp_path, monkeypatch):
    monkeypatch.delenv('MMENTROPY_DEBUG', raising=False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    (tmp_path / 'c.py').write_text(CONFIG)
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((8, 8, 3), np.uint8))
    done = run_tool(*(word.format(folder=tmp_path) for word in command))
    assert done.code == 2
    assert message in done.err
    assert 'Traceback' not in done.err
