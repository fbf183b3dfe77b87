# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Runs of a comparison as they lie on the disk when they are finished, without having been trained."""

import json

import torch
from mmengine.registry import MODELS, init_default_scope

from mmentropy.experiments import comparison

CONFIGS = ['configs/demo/resnet18_partshapes.py', 'configs/demo/resnet18_partshapes_ent.py']
NARROW = {'model.backbone.base_channels': 4, 'model.backbone.stem_channels': 4, 'val_dataloader.dataset.length': 20}

LOADER = {'num_workers': 0, 'persistent_workers': False, 'batch_size': 10}


def pretend_trained(run, figures=None) -> torch.nn.Module:
    """What a finished run leaves, with weights that no training has seen."""
    cfg = run.train_config()
    trained = comparison._fingerprint(cfg, comparison.TRAINING_KEYS)
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    run.directory.mkdir(parents=True)
    torch.save(dict(state_dict=model.state_dict(), meta={}), run.directory / 'epoch_1.pth')
    (run.directory / 'trained.json').write_text(json.dumps(dict(fingerprint=trained, checkpoint='epoch_1.pth')))
    if figures is not None:
        (run.directory / 'metrics').mkdir()
        for name, one in run.evaluation_configs().items():
            mark = comparison._fingerprint(one, comparison.EVALUATION_KEYS)
            (run.directory / f'metrics/{name}.json').write_text(json.dumps(dict(fingerprint=mark, metrics=figures)))
    return model.eval()
