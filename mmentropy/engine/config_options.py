# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What ``--cfg-options`` may set: keys of the config, arguments that its types take, and what a leading ``+`` adds."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import root as registries
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
from torch.utils.data import DataLoader

from mmentropy.command_line import ConfigOptions, add_config_options  # noqa: F401  their old place
from mmentropy.registry import SOURCES, STAGES

#: Keys that every group of settings may have: of the registries and of merging.
ALWAYS = ('type', '_scope_', '_delete_')
#: Last part of a top-level key -> where the types under it are registered.
REGISTRIES = {
    'model': ('MODELS',),
    'data_preprocessor': ('MODELS',),
    'dataloader': ('DATASETS', 'TRANSFORMS', 'DATA_SAMPLERS', 'FUNCTIONS'),
    'evaluator': ('METRICS', 'EVALUATOR'),
    'hooks': ('HOOKS',),
    'cfg': ('LOOPS', 'MODEL_WRAPPERS'),
    'visualizer': ('VISUALIZERS', 'VISBACKENDS'),
    'optim_wrapper': ('OPTIM_WRAPPERS', 'OPTIMIZERS', 'OPTIM_WRAPPER_CONSTRUCTORS'),
    'param_scheduler': ('PARAM_SCHEDULERS',),
    'log_processor': ('LOG_PROCESSORS',),
}
#: The same for the keys of a pipeline config, whose types are ours alone.
OURS = {'stages': STAGES, 'data': SOURCES}
HOOK_NAMES = (
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
    'visualization',
    'stop',
)

#: What a group takes that its ``type`` does not tell: functions whose arguments it holds, or names. The groups are
#: given by patterns of their dotted keys, as of file names.
Takes = Callable | tuple[str, ...]
RUN_GROUPS: dict[str, tuple[Takes, ...]] = {
    '': (Runner, ('compile', 'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'custom_imports')),
    'auto_scale_lr': (('enable', 'base_batch_size'),),
    'default_hooks': (HOOK_NAMES,),
    'env_cfg': (('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),),
    'log_processor': (LogProcessor,),
    'optim_wrapper': (OptimWrapper, ('optimizer', 'constructor', 'paramwise_cfg')),
    'randomness': (Runner.set_randomness,),
    'test_cfg': (TestLoop,),
    'train_cfg': (EpochBasedTrainLoop, IterBasedTrainLoop, ('by_epoch',)),
    'val_cfg': (ValLoop,),
    **{f'{split}_dataloader': (DataLoader, ('dataset', 'num_batch_per_epoch')) for split in ('train', 'val', 'test')},
}
#: Groups that a runner has where the config is silent.
IMPLIED = ('default_hooks', 'env_cfg', 'log_processor', 'randomness')


def merge_options(
    cfg: Config, options: Mapping[str, Any], groups: Mapping[str, tuple[Takes, ...]] = RUN_GROUPS
) -> None:
    """Set keys of a config, each of which must be known.

    A key is known if the config has it, or if the group that it is in exists and takes it: the group's ``type`` has
    such an argument (or ``**kwargs``), or ``groups`` says so. A leading ``+`` sets any key.

    Args:
        cfg: changed in place.
        options: dotted key -> value; numbers in a key count the elements of a list. A dict goes into the group that is
            there, or replaces it if it holds ``_delete_=True``.
        groups: what groups take that their type does not tell.

    Raises:
        ValueError: for a key that is not known, with those nearest to it.
    """
    # A type decides what its neighbours may be, so it comes first whatever the order on the command line.
    for key, value in sorted(options.items(), key=lambda item: not item[0].endswith('.type')):
        value = deepcopy(value)  # merging takes _delete_ out of it, and the caller may merge once more
        path = key.removeprefix('+').split('.')
        if path[0] in cfg and path[0] not in (_arguments(cfg, [], {}, groups) or cfg):
            print(
                f'{key}: {path[0]} is a name that the config file uses and the run does not read; what was made of it '
                'stays as it is',
                file=sys.stderr,
            )
        try:
            if key.startswith('+'):
                _make_parents(cfg, path)
            else:
                _check(cfg, path, value, groups)
        except ValueError as error:
            raise ValueError(f'{cfg.filename or "the config"}: {error}') from None
        if isinstance(value, dict) and not isinstance(_find(cfg, path), dict):
            value |= _in_place_of(cfg, path)
        cfg.merge_from_dict({'.'.join(path): value})


def _find(cfg: Config, path: list[str]) -> Any:
    """What stands at a path; None where there is nothing."""
    here: Any = cfg._cfg_dict
    for part in path:
        if isinstance(here, list | tuple):
            here = here[int(part)] if part.isdigit() and int(part) < len(here) else None
        else:
            here = here.get(part) if isinstance(here, dict) else None
    return here


def _in_place_of(cfg: Config, path: list[str]) -> dict[str, bool]:
    """What has a group replace what stands at a path; where nothing stands mmengine would leave it in the group."""
    parent = _find(cfg, path[:-1]) if path[:-1] else cfg._cfg_dict
    there = path[-1] in parent if isinstance(parent, dict) else isinstance(parent, list | tuple)
    return {'_delete_': True} if there else {}


def _make_parents(cfg: Config, path: list[str]) -> None:
    """Where a parent of a new key is missing or None, an empty group."""
    for depth in range(1, len(path)):
        there = _find(cfg, path[:depth])
        if there is None:
            cfg.merge_from_dict({'.'.join(path[:depth]): _in_place_of(cfg, path[:depth])})
        elif not isinstance(there, dict | list):
            raise ValueError(f'+{".".join(path)}: {".".join(path[:depth])} is {there!r} and holds no keys')


def _check(cfg: Config, path: list[str], value: Any, groups: Mapping[str, tuple[Takes, ...]]) -> None:
    for depth, part in enumerate(path):
        parent, last = path[:depth], depth == len(path) - 1
        here = cfg._cfg_dict if not parent else _find(cfg, parent)
        name = '.'.join(parent)
        if isinstance(here, list | tuple):
            _check_index(here, path, depth)
        elif here is None and name in IMPLIED:
            _check_key(cfg, path, depth, {}, groups)
        elif not isinstance(here, dict):
            raise ValueError(
                f'{".".join(path)}: {name} is {here!r} in the config and holds no keys; +{".".join(path)}=… makes a '
                'group of it'
            )
        elif part not in here and (last or '.'.join(path[: depth + 1]) not in IMPLIED):
            _check_key(cfg, path, depth, here, groups)
    if isinstance(value, dict):
        _check_value(cfg, path, value, groups)


def _check_index(here: list | tuple, path: list[str], depth: int) -> None:
    key, part, last = '.'.join(path), path[depth], depth == len(path) - 1
    name = '.'.join(path[:depth])
    if not part.isdigit() or int(part) >= len(here):
        raise ValueError(f'{key}: {name} is a list of {len(here)}, whose elements are {name}.0 to .{len(here) - 1}')
    if isinstance(here, tuple) or (last and not isinstance(here[int(part)], dict)):
        raise ValueError(f'{key}: give the whole list, {name}=[…]')


def _check_key(
    cfg: Config, path: list[str], depth: int, here: Mapping[str, Any], groups: Mapping[str, tuple[Takes, ...]]
) -> None:
    """Whether a group takes a key that it does not have yet.

    Raises:
        ValueError: if not.
    """
    part = path[depth]
    takes = _arguments(cfg, path[:depth], here, groups)
    if takes is None or part in (*takes, *ALWAYS):
        if depth == len(path) - 1:
            return
        missing = '.'.join(path[: depth + 1])
        raise ValueError(
            f'{".".join(path)}: {missing} is not set in the config; +{".".join(path)}=… makes a group of it'
        )
    key, known = '.'.join(path), [*here, *(name for name in takes if name not in here)]
    near = ['.'.join([*path[:depth], name, *path[depth + 1 :]]) for name in get_close_matches(part, known, 3, 0.6)]
    near = near or [other for other in _leaves(cfg._cfg_dict) if other.endswith(f'.{path[-1]}')][:3]
    if near:
        said = f'did you mean {" or ".join(near)}?'
    else:
        said = f'{".".join(path[:depth]) or "it"} has {", ".join(known) or "no keys"}.'
    raise ValueError(f'there is no setting {key}; {said} To add a new one, write +{key}=…')


def _check_value(cfg: Config, path: list[str], value: dict, groups: Mapping[str, tuple[Takes, ...]]) -> None:
    """The keys of a dict that goes to ``path``."""
    there = _find(cfg, path)
    here = there if isinstance(there, dict) and not value.get('_delete_') else {}
    if not here and 'type' not in value:
        return  # a new group without a type: nothing says what it takes
    takes = _arguments(cfg, path, {**here, **value}, groups)
    for key, inner in value.items():
        if key not in here and takes is not None and key not in (*takes, *ALWAYS):
            kind = value.get('type', here.get('type'))
            near = get_close_matches(key, [*here, *takes], 3, 0.6)
            said = f'did you mean {" or ".join(near)}?' if near else f'it takes {", ".join(takes)}.'
            raise ValueError(f'{".".join(path)}: {kind} takes no {key}; {said}')
        if isinstance(inner, dict) and here:
            _check_value(cfg, [*path, key], inner, groups)


def _arguments(
    cfg: Config, path: list[str], group: Mapping[str, Any], groups: Mapping[str, tuple[Takes, ...]]
) -> list[str] | None:
    """Names that a group takes, beside those that it has; None where it takes anything."""
    told = [one for pattern, takes in groups.items() if fnmatchcase('.'.join(path), pattern) for one in takes]
    if path and path[-1] == 'data_preprocessor':
        group = {'type': 'ClsDataPreprocessor', **group}  # what mmpretrain's classifiers take where nothing is said
    if group.get('type') is not None:
        told = [*_classes(cfg, path[0], group['type']), *(one for one in told if isinstance(one, tuple))]
        if not told:
            return None  # the build names a type that there is not
    names: list[str] = []
    for one in told:
        arguments = one if isinstance(one, tuple) else parameters(one)
        if arguments is None:
            return None
        names += arguments
    return list(dict.fromkeys(names))


def _classes(cfg: Config, top: str, kind: Any) -> Iterator[Callable]:
    """What a type's name may stand for, under a top-level key."""
    if not isinstance(kind, str):
        yield kind
        return
    if top in OURS:
        yield from filter(None, [OURS[top].get(kind)])
        return
    names = next((names for end, names in REGISTRIES.items() if top.endswith(end)), ())
    for name in names:
        with getattr(registries, name).switch_scope_and_registry(cfg.get('default_scope') or 'mmengine') as registry:
            try:
                registered = registry.get(kind)
            except (RuntimeError, ImportError):  # of another registry, or of a host that is not installed
                continue
        if registered is not None:
            yield registered


def parameters(function: Callable) -> tuple[str, ...] | None:
    """Names of the arguments of a function or class; None where it takes any.

    >>> parameters(dict) is None
    True
    >>> parameters(merge_options)
    ('cfg', 'options', 'groups')
    """
    try:
        arguments = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # in C, without a signature
        return None
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in arguments):
        return None
    return tuple(one.name for one in arguments if one.name != 'self')


def _leaves(group: Mapping[str, Any], before: str = '') -> Iterator[str]:
    """Dotted keys of all settings outside lists."""
    for key, value in group.items():
        name = f'{before}{key}'
        if isinstance(value, dict):
            yield from _leaves(value, f'{name}.')
        else:
            yield name
