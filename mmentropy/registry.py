# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The registries of scope ``mmentropy``.

Each is a child of mmengine's *root* registry, so that mmpretrain's and mmsegmentation's runners both find
``type='mmentropy.X'`` without any ``custom_imports``: mmengine imports this module, then those under ``locations``.
This file imports mmengine alone: an ImportError here would be swallowed by mmengine and show up as "not in registry".
"""

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

MODELS = Registry('model', parent=MMENGINE_MODELS, scope='mmentropy', locations=['mmentropy.models'])
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='mmentropy', locations=['mmentropy.datasets'])
TRANSFORMS = Registry(
    'transform', parent=MMENGINE_TRANSFORMS, scope='mmentropy', locations=['mmentropy.datasets.transforms']
)
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope='mmentropy', locations=['mmentropy.evaluation'])
HOOKS = Registry(
    'hook', parent=MMENGINE_HOOKS, scope='mmentropy', locations=['mmentropy.engine', 'mmentropy.visualization']
)
LOOPS = Registry('loop', parent=MMENGINE_LOOPS, scope='mmentropy', locations=['mmentropy.engine'])
VISUALIZERS = Registry(
    'visualizer', parent=MMENGINE_VISUALIZERS, scope='mmentropy', locations=['mmentropy.visualization']
)
OPTIM_WRAPPERS = Registry(
    'optim_wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope='mmentropy', locations=['mmentropy.engine']
)
EXPLAINERS = Registry('explainer', scope='mmentropy', locations=['mmentropy.explain'])
STAGES = Registry('stage', scope='mmentropy', locations=['mmentropy.segmentation'])
