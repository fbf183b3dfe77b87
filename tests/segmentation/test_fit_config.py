# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Configs of VOC's classes on other data: images, classes, and what a mask of sixteen bits needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope
from own_layouts import as_table, as_wide_table

from mmentropy.datasets.label_png import label_png
from mmentropy.segmentation.fit_config import fit_classifier, fit_segmenter

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def load(name: str) -> Config:
    return Config.fromfile(str(CONFIGS / name))


def test_on_voc_the_folder_alone_changes(voc, tmp_path):
    cfg, plain = load('voc/resnet50_voc12_cls_ent.py'), load('voc/resnet50_voc12_cls_ent.py')
    fit_classifier(cfg, voc)
    assert cfg.train_dataloader.dataset.data_root == str(Path(voc.root).resolve())
    assert cfg.model == plain.model
    cfg, plain = load('voc/deeplabv3plus_r50_voc12.py'), load('voc/deeplabv3plus_r50_voc12.py')
    fit_segmenter(cfg, voc, tmp_path)
    assert cfg.train_dataloader.dataset.ann_file == str(tmp_path / 'ids.txt')
    assert cfg.train_dataloader.dataset.pipeline == plain.train_dataloader.dataset.pipeline
    assert cfg.model == plain.model


def test_a_classifier_takes_images_and_classes(voc, tmp_path):
    cfg = load('voc/resnet50_voc12_cls_ent.py')
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    data = as_table(voc, tmp_path / 'data', classes=7)
    fit_classifier(cfg, data)
    assert cfg.data_preprocessor.num_classes == 7
    assert [step.type for step in cfg.train_dataloader.dataset.pipeline] == steps
    cfg = Config.fromstring(cfg.pretty_text, '.py')  # as the training reads it
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    labels = {Path(info['img_path']).stem: info['gt_label'] for info in map(dataset.get_data_info, range(len(dataset)))}
    assert labels == {key: voc.labels(key).tolist() for key in voc.ids()}
    assert not dataset.test_mode


def test_the_data_set_inside_of_what_repeats_it(voc, tmp_path):
    cfg = load('classification/resnet50_voc12_cls.py')
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset)
    fit_classifier(cfg, as_table(voc, tmp_path / 'data'))
    assert cfg.train_dataloader.dataset.type == 'RepeatDataset'
    assert cfg.train_dataloader.dataset.dataset.type == 'mmentropy.SourceImages'


@pytest.mark.parametrize('name', ['fcn_r18_partshapes', 'dsrg_r18_partshapes', 'affinity_r18_partshapes'])
def test_three_hundred_classes_in_mmseg(voc, tmp_path, name):
    """Masks that hold classes beyond 255, and 65535: the samples and the loss know both."""
    data = as_wide_table(voc, tmp_path / 'data')
    keys, masks = data.ids()[:2], tmp_path / 'masks'
    masks.mkdir()
    for key in keys:
        mask = data.mask(key)
        mask[:8] = 255  # a class here
        (masks / f'{key}.png').write_bytes(label_png(mask, 301).getvalue())
    (masks / 'ids.txt').write_text('\n'.join(keys))
    cfg = load(f'voc/{name}.py')
    fit_segmenter(cfg, data, masks)
    assert cfg.model.data_preprocessor.seg_pad_val == cfg.data_preprocessor.seg_pad_val == 65535
    crop = next(step for step in cfg.train_dataloader.dataset.pipeline if step['type'] == 'RandomCrop')
    assert crop.ignore_index == 65535
    cfg = Config.fromstring(cfg.pretty_text, '.py')
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    if 'decode_head' in cfg.model:
        cfg.model.decode_head.in_channels = [8, 64]
    else:
        cfg.model.in_channels = [8, 16, 64]
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        samples = [dataset[0], dataset[1]]
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
    values = np.unique(np.concatenate([one['data_samples'].gt_sem_seg.data.numpy().ravel() for one in samples]))
    assert {255, 65535} <= set(values.tolist()) <= {0, 251, 255, 256, 257, 300, 65535}
    batch = {'inputs': [one['inputs'] for one in samples], 'data_samples': [one['data_samples'] for one in samples]}
    batch = model.data_preprocessor(batch, training=True)
    loss = model(**batch, mode='loss')
    assert all(torch.isfinite(value).all() for value in loss.values())
    if name.startswith('fcn'):
        assert model.decode_head.conv_seg.weight.shape[0] == 301
        model.eval()  # no dropout
        with torch.no_grad():
            logits = model(batch['inputs'], mode='tensor')
            loss = model.loss(batch['inputs'], batch['data_samples'])
        truth = torch.cat([sample.gt_sem_seg.data for sample in batch['data_samples']])
        logits = F.interpolate(logits, truth.shape[1:], mode='bilinear')
        counted = truth != 65535
        rows = logits.permute(0, 2, 3, 1)[counted].log_softmax(1)
        want = -rows[torch.arange(len(rows)), truth[counted]].mean()
        assert loss['decode.loss_ce'].item() == pytest.approx(want.item(), rel=1e-4)
