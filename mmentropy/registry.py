# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The registries of scope ``mmentropy``.

Each is a child of mmengine's *root* registry, so that mmpretrain's and mmsegmentation's runners both find
``type='mmentropy.X'`` without any ``custom_imports``: mmengine imports this module, then those under ``locations``.
This file imports mmengine alone: an ImportError here would be swallowed by mmengine and show up as "not in registry".
"""

import re
from difflib import get_close_matches

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

#: Modules with a data set, and with a metric: their packages do not import them all.
_READERS = (
    'cached_features',
    'camelyon16',
    'cub',
    'flowers',
    'glas',
    'image_folders',
    'imagenet',
    'mosaic',
    'openimages',
    'source_images',
    'source_masks',
    'tiny_imagenet',
    'voc',
    'wsol_dataset',
)
_METRICS = (
    'box_localization',
    'dice',
    'entropy_metric',
    'error_analysis',
    'faithfulness_metric',
    'grid_pointing',
    'imagenet_errors',
    'part_coverage',
    'pixel_localization',
    'segmentor_dice',
)

MODELS = Registry('model', parent=MMENGINE_MODELS, scope='mmentropy', locations=['mmentropy.models'])
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='mmentropy',
    locations=['mmentropy.datasets.drawn.partshapes', *(f'mmentropy.datasets.readers.{name}' for name in _READERS)],
)
DATA_SAMPLERS = Registry(
    'data sampler', parent=MMENGINE_DATA_SAMPLERS, scope='mmentropy', locations=['mmentropy.datasets.few_samples']
)
TRANSFORMS = Registry(
    'transform', parent=MMENGINE_TRANSFORMS, scope='mmentropy', locations=['mmentropy.datasets.transforms']
)
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope='mmentropy',
    locations=[f'mmentropy.evaluation.{name}' for name in _METRICS],
)
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
SOURCES = Registry('source', scope='mmentropy', locations=['mmentropy.datasets.sources'])
STAGES = Registry('stage', scope='mmentropy', locations=['mmentropy.segmentation'])

#: mmengine's sentence about a name that it does not find, which ends with a page to read.
UNKNOWN_TYPE = re.compile(r'(\S+) is not in the \S+?::([\w ]+) registry\.')
_OURS = (MODELS, DATASETS, TRANSFORMS, METRICS, HOOKS, LOOPS, VISUALIZERS, OPTIM_WRAPPERS)


def name_near_types(message: str) -> str | None:
    """mmengine's sentence about an unknown type, with the names that are near it; None for any other sentence.

    >>> name_near_types('EntropyPoolng is not in the mmpretrain::model registry. Please check whether …')
    "there is no model 'EntropyPoolng'; did you mean mmentropy.EntropyPooling?"
    >>> name_near_types('a is not in b') is None
    True
    """
    found = UNKNOWN_TYPE.search(message)
    if found is None:
        return None
    name, kind = found[1].strip('`\'"'), found[2]
    known: dict[str, list[str]] = {}
    for registry in _OURS:
        if registry.name == kind:
            registry.import_from_location()
            known |= {key: [f'mmentropy.{key}'] for key in registry.module_dict}
            hosts = registry.parent.children.values()
            for other in [registry.parent, *(host for host in hosts if host is not registry)]:
                for key in other.module_dict:
                    known.setdefault(key, []).append(key)
    near = [full for key in get_close_matches(name.rpartition('.')[2], known, 3, 0.75) for full in known[key]]
    said = f'did you mean {" or ".join(near[:3])}?' if near else 'ours begin with mmentropy., the host’s with no prefix'
    return f'there is no {kind} {name!r}; {said}'
