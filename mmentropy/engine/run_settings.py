# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The settings that a folder's checkpoints were trained with, and how those of a new training differ from them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from .checkpoint import latest_whole, read_meta

#: What a trained model depends on. Evaluation, logging and paths may change without training again.
TRAINING_KEYS = ('model', 'data_preprocessor', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
#: Options of a loader that do not change what it gives.
LOADER_NOISE = ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor')
#: The hosts' loops under our names are the same loops; when validation is due changes no weight.
LOOP_NOISE = ('type', 'by_epoch', 'val_interval', 'val_begin')
#: Differences that are told one by one.
TOLD = 12


def check_settings(cfg: Config, elsewhere: Sequence[Path] = ()) -> None:
    """Compare a training with what its folder holds, before anything is written there.

    A training that resumes is told what differs, one sentence each, and goes on: a longer one or another learning rate
    may be wanted. One that begins anew would leave the checkpoints of two trainings side by side.

    Args:
        cfg: with ``work_dir``, ``resume`` and ``load_from``.
        elsewhere: further folders that its checkpoints lie in.

    Raises:
        ValueError: if the folder holds checkpoints of other settings, and the training does not resume.
    """
    given = cfg.get('load_from') if cfg.get('resume') else None
    checkpoint = Path(given) if given else latest_whole(cfg.work_dir, *elsewhere)[0]
    if checkpoint is None or not checkpoint.is_file():
        return
    meta = read_meta(checkpoint)
    if not isinstance(meta.get('cfg'), str):
        return  # not written by mmengine: nothing is known
    differ = differences(read_settings(meta['cfg']), read_settings(cfg.pretty_text))
    processes = meta.get('processes')
    if cfg.get('resume') and processes and processes != get_world_size():
        differ.append(f'processes: {processes} there, {get_world_size()} now')
    if cfg.get('resume'):
        for sentence in differ:
            print(f'resuming {checkpoint} with another setting: {sentence}', file=sys.stderr)
    elif differ:
        raise ValueError(
            f'{cfg.work_dir} holds {checkpoint.name} of a training with other settings ({"; ".join(differ)}); take '
            'another --work-dir, go on from it with --resume, or remove its checkpoints'
        )
    else:
        print(
            f'{cfg.work_dir} holds {checkpoint.name} of an earlier training with these settings, which this one begins '
            'anew and replaces; --resume goes on from it',
            file=sys.stderr,
        )


def plain_settings(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a training, of a config: :data:`TRAINING_KEYS`, hooks, the learning rate's scaling, the seed."""
    settings = {key: cfg[key] for key in TRAINING_KEYS if cfg.get(key) is not None}
    for key, noise in (('train_dataloader', LOADER_NOISE), ('train_cfg', LOOP_NOISE)):
        if isinstance(settings.get(key), Mapping):
            settings[key] = {name: value for name, value in settings[key].items() if name not in noise}
    if cfg.get('custom_hooks'):
        settings['custom_hooks'] = cfg['custom_hooks']
    if (cfg.get('auto_scale_lr') or {}).get('enable'):
        settings['auto_scale_lr'] = cfg['auto_scale_lr']
    randomness = cfg.get('randomness')
    if isinstance(randomness, Mapping) and 'seed' in randomness:
        settings['randomness'] = {'seed': randomness['seed']}
    return settings


def read_settings(text: str) -> dict[str, Any]:
    """:func:`plain_settings` of a config's text, as checkpoints carry it. It is read as data: nothing in it runs.

    >>> read_settings("model = dict(type='A', depth=18)\\nwork_dir = 'x'")
    {'model': {'type': 'A', 'depth': 18}}
    """
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    cfg = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if isinstance(target, ast.Name):
                cfg[target.id] = _value(statement.value)
    return plain_settings(cfg)


def _value(node: ast.expr) -> Any:
    """A literal, with ``dict(…)`` among the literals; what is none stands for itself as text."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args:
        return {word.arg: _value(word.value) for word in node.keywords if word.arg is not None}
    if isinstance(node, ast.Dict):
        return {_key(key): _value(value) for key, value in zip(node.keys, node.values) if key is not None}
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ast.unparse(node)


def _key(node: ast.expr) -> str:
    value = _value(node)
    return value if isinstance(value, str) else repr(value)


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One sentence for each setting that two trainings do not share, :data:`TOLD` at most and how many more there are.

    >>> differences({'optim_wrapper': {'lr': 0.1}}, {'optim_wrapper': {'lr': 0.2}})
    ['optim_wrapper.lr: 0.1 there, 0.2 now']
    """
    told = list(_differences('', there, now))
    more = len(told) - TOLD
    return told[:TOLD] + ([f'{more} further settings differ'] if more > 0 else [])


def _differences(place: str, there: Any, now: Any) -> Iterator[str]:
    """Depth first, in the order of the names."""
    if isinstance(there, Mapping) and isinstance(now, Mapping):
        old, new = ({str(key): value for key, value in side.items()} for side in (there, now))
        for name in sorted({*old, *new}):
            yield from _differences(f'{place}.{name}' if place else name, old.get(name), new.get(name))
    elif _is_list(there) and _is_list(now) and len(there) == len(now):
        for number, (one, other) in enumerate(zip(there, now)):
            yield from _differences(f'{place}.{number}', one, other)
    elif not _same(there, now):
        yield f'{place}: {_short(there)} there, {_short(now)} now'


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _same(one: Any, other: Any) -> bool:
    """Equal, or equal as the text of a config has it: what is no literal there is text here."""
    return one == other or str(one) == str(other) or (_is_list(one) and _is_list(other) and list(one) == list(other))


def _short(value: Any) -> str:
    if value is None:
        return 'none'
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f'{text[:57]}…'
