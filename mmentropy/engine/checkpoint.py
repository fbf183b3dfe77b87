# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Checkpoints are data: loading one runs no code from it unless the user says so; written whole, checked when read."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from types import FunctionType

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as host
from torch import nn

from mmentropy.safe_files import multiarray

#: What mmengine's own checkpoints hold beside tensors and plain containers: the curves of the message hub.
SAFE_TYPES = [HistoryBuffer, np.ndarray, np.dtype, np.float64, np.float32, np.int64]
SAFE_TYPES += [type(np.dtype(name)) for name in ('float64', 'float32', 'int64', 'int32', 'bool', 'uint8')]


def _history_method(owner: type, name: str) -> object:
    """``getattr`` as far as a checkpoint needs it: the curves name their own four statistics, and nothing else."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise UnpicklingError(f'the checkpoint asks for getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def torch_version() -> tuple[int, int]:
    """Major and minor number of torch."""
    major, minor = torch.__version__.split('.')[:2]
    return int(major), int(minor)


def _named_getattr() -> list[object]:
    """:func:`_history_method` under the names that pickles give to ``getattr``."""
    if torch_version() >= (2, 6):
        return [(_history_method, name) for name in ('__builtin__.getattr', 'builtins.getattr', 'getattr')]
    named = []
    for module in ('__builtin__', 'builtins'):  # torch 2.5 takes no pairs; it goes by the names that functions carry
        function = FunctionType(_history_method.__code__, globals(), 'getattr')
        function.__module__ = module
        named.append(function)
    return named


def trust_checkpoints(trust: bool) -> None:
    """Decide, for this process, whether checkpoints may hold arbitrary pickled objects.

    mmengine tries ``weights_only`` and then silently falls back to full unpickling; torch's environment switch makes
    the fallback fail as well, so a file that needs more is refused.

    Args:
        trust: True allows full unpickling (``--trust-checkpoint``), which may run code from the file.
    """
    force, allow = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
    os.environ.pop(force if trust else allow, None)
    os.environ[allow if trust else force] = '1'
    if hasattr(torch.serialization, 'add_safe_globals'):
        torch.serialization.add_safe_globals([*SAFE_TYPES, multiarray._reconstruct, multiarray.scalar])
        torch.serialization.add_safe_globals(_named_getattr())
    if hasattr(host, 'get_torch_safe_globals'):
        # The maintained mmengine admits all of getattr, from which a file can reach any function: ours is the list.
        host.get_torch_safe_globals = list


def broken(path: Path) -> str | None:
    """What is wrong with a local checkpoint file as a file; None where it looks whole.

    torch writes zip archives, whose directory stands at the end: a truncated one has none. Files of torch before 1.6
    are pickles and pass.
    """
    with open(path, 'rb') as file:
        start = file.read(2)
    if not start:
        return 'it is empty'
    if start == b'PK':
        return None if zipfile.is_zipfile(path) else f'it is truncated ({path.stat().st_size} bytes)'
    return None if start[:1] == b'\x80' else 'it was not written by torch.save'


def check_whole(path: str | Path) -> None:
    """Refuse a local checkpoint that is truncated or none at all.

    Raises:
        FileNotFoundError, ValueError: naming the file, and the whole checkpoints beside it.
    """
    if '://' in str(path):
        return
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    problem = broken(path)
    if problem:
        others = sorted(other.name for other in path.parent.glob('*.pth') if other != path and not broken(other))
        there = f'; whole ones beside it: {", ".join(others)}' if others else '; there is no other beside it'
        raise ValueError(f'{path} is no whole checkpoint: {problem}{there}')


def latest_whole(work_dir: str | Path) -> tuple[Path | None, list[Path]]:
    """The checkpoint to resume a run from, and the broken ones that are passed over on the way to it.

    The one that ``last_checkpoint`` names, else the latest of ``epoch_N.pth`` or ``iter_N.pth`` that is whole.
    """
    folder = Path(work_dir)
    mark = folder / 'last_checkpoint'
    named = Path(mark.read_text().strip()) if mark.is_file() else None
    if named is None:
        return None, []
    numbered = [(re.fullmatch(r'(epoch|iter)_(\d+)\.pth', path.name), path) for path in folder.glob('*.pth')]
    older = [path for _, path in sorted((int(m[2]), path) for m, path in numbered if m)][::-1]
    skipped: list[Path] = []
    for path in dict.fromkeys([named, folder / named.name, *older]):
        if path.is_file() and not broken(path):
            return path, skipped
        if path.is_file():
            skipped.append(path)
    return None, skipped


def misfit(model: nn.Module, checkpoint: dict, whole: bool = True) -> str | None:
    """How a checkpoint fails to fit a model; None where it fits.

    Args:
        model: the model.
        checkpoint: what was loaded: a state dict, or one under ``state_dict``.
        whole: all of the model must be there (to resume, to test); else any shared weight will do (to start from).
    """
    weights = checkpoint.get('state_dict', checkpoint)
    weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    own = {key: value for key, value in model.state_dict().items() if not key.endswith('num_batches_tracked')}
    missing = [key for key in own if key not in weights]
    other = [key for key in own if key in weights and getattr(weights[key], 'shape', None) != own[key].shape]
    if own and len(missing) + len(other) == len(own):
        return f'not one of its {len(own)} entries is there with its shape, for example {next(iter(own))}'
    if not whole or not (missing or other):
        return None
    parts = [f'{len(missing)} of its {len(own)} entries are missing, for example {missing[0]}'] if missing else []
    if other:
        shapes = f'{tuple(weights[other[0]].shape)} instead of {tuple(own[other[0]].shape)}'
        parts.append(f'{len(other)} have another shape, for example {other[0]}: {shapes}')
    return '; '.join(parts)


def plain_curves(hub: dict) -> dict:
    """A message hub's state with its curves as tensors and its numpy values as plain ones.

    So a checkpoint holds nothing that ``torch.load(weights_only=True)`` does not know by itself.
    """
    curves = {}
    for name, curve in hub['log_scalars'].items():
        values, counts = curve.data
        curves[name] = {
            'values': torch.tensor(np.asarray(values, dtype=np.float64)),
            'counts': torch.tensor(np.asarray(counts, dtype=np.int64)),
            'max_length': curve.max_length,
        }
    return {**hub, 'log_scalars': curves, 'runtime_info': _plain(hub['runtime_info'])}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def host_curves(hub: dict) -> dict:
    """The inverse of :func:`plain_curves`, for mmengine; a state of mmengine's own passes."""
    curves = {
        name: HistoryBuffer(curve['values'].tolist(), curve['counts'].tolist(), curve['max_length'])
        if isinstance(curve, dict)
        else curve
        for name, curve in hub['log_scalars'].items()
    }
    return {**hub, 'log_scalars': curves}
