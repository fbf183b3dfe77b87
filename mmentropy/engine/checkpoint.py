# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Checkpoints are data: loading one runs no code from it unless the user says so; written whole, checked when read."""

from __future__ import annotations

import os
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from types import FunctionType
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as host
from torch import nn

from mmentropy.command_line import first_line
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


#: torch's switches over every ``torch.load`` of a process, whatever its caller asks for.
FORCE, ALLOW = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'

_trusted = False
_reading = threading.RLock()


def trust_checkpoints(trust: bool) -> None:
    """Decide, for this process, whether checkpoints may hold arbitrary pickled objects; until then they may not.

    mmengine tries ``weights_only`` and then silently falls back to full unpickling; torch's environment switch makes
    the fallback fail as well, so a file that needs more is refused.

    Args:
        trust: True allows full unpickling (``--trust-checkpoint``), which may run code from the file.
    """
    global _trusted
    _trusted = trust
    os.environ.pop(FORCE if trust else ALLOW, None)
    os.environ[ALLOW if trust else FORCE] = '1'
    _admit_plain_types()


def _admit_plain_types() -> None:
    """What checkpoints of mmengine hold beside tensors is data, too."""
    if hasattr(torch.serialization, 'add_safe_globals'):
        torch.serialization.add_safe_globals([*SAFE_TYPES, multiarray._reconstruct, multiarray.scalar])
        torch.serialization.add_safe_globals(_named_getattr())
    if hasattr(host, 'get_torch_safe_globals'):
        # The maintained mmengine admits all of getattr, from which a file can reach any function: ours is the list.
        host.get_torch_safe_globals = list


@contextmanager
def _as_data() -> Iterator[None]:
    """Whatever is unpickled in the block is data, unless this process trusts its checkpoints."""
    if _trusted:
        yield
        return
    with _reading:
        before = {name: os.environ.pop(name, None) for name in (FORCE, ALLOW)}
        os.environ[FORCE] = '1'
        _admit_plain_types()
        try:
            yield
        finally:
            del os.environ[FORCE]
            os.environ.update({name: value for name, value in before.items() if value is not None})


_read_as_host = host.CheckpointLoader.load_checkpoint.__func__


def read_checkpoint(cls: type, filename: str, *args: Any, **kwargs: Any) -> Any:
    """mmengine's ``CheckpointLoader.load_checkpoint``, in its place: the door through which weights come in.

    Configs' ``init_cfg``, ``load_from``, ``--resume``, the hosts' own models and ours all read here, so what is asked
    of a file is asked of it whoever reads: that it is whole, that its checksums are right, that it is data.

    Raises:
        UnpicklingError: naming the file, if it holds more than data and this process does not trust it.
        ValueError: naming the file, if it is damaged or no checkpoint.
    """
    filename = str(filename)
    local = Path(filename).is_file()
    if local and (problem := broken(Path(filename))):
        raise ValueError(f'{filename} is no whole checkpoint: {problem}')
    try:
        with _as_data():
            return _read_as_host(cls, filename, *args, **kwargs)
    except UnpicklingError as error:
        raise UnpicklingError(f'{filename}: {first_line(error)}') from None
    except (OSError, MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # unpickling damaged bytes raises whatever it meets
        if not local:
            raise
        raise ValueError(f'{filename} cannot be read as a checkpoint ({first_line(error)})') from None


host.CheckpointLoader.load_checkpoint = classmethod(read_checkpoint)


def read_meta(path: Path) -> dict[str, Any]:
    """What a checkpoint of ours says about its training, weights left on the disk: ``meta`` and ``processes``.

    Empty if it says nothing, or is no checkpoint.
    """
    try:
        with _as_data():
            content = torch.load(path, map_location='cpu', weights_only=True, mmap=zipfile.is_zipfile(path))
        states = content.get('message_hub', {}).get('runtime_info', {}).get('random_states')
        return {**content.get('meta', {}), **({} if states is None else {'processes': len(states)})}
    except Exception:  # unpickling damaged bytes raises whatever it meets
        return {}


def broken(path: Path) -> str | None:
    """What is wrong with a local checkpoint file as a file; None where it is whole.

    torch writes zip archives, whose directory stands at the end (a truncated one has none) and holds a checksum of
    each tensor, which torch does not look at. Files of torch before 1.6 are pickles and pass.
    """
    return _broken_outside(path) or _wrong_checksum(path)


def _wrong_checksum(path: Path) -> str | None:
    """The first part of an archive whose bytes are not those that were written."""
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(member.CRC for member in archive.infolist()):
                return None  # torch was told to write none
            bad = archive.testzip()
    except Exception as error:  # zipfile raises a dozen kinds on damaged archives
        return f'it is damaged ({error})'
    return bad and f'it is damaged, the checksum of {bad} is wrong'


def _broken_outside(path: Path) -> str | None:
    """What beginning and end of a file say against it."""
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
        beside = [other for other in path.parent.glob('*.pth') if other != path]
        others = sorted(other.name for other in beside if not _broken_outside(other))
        there = f'; whole ones beside it: {", ".join(others)}' if others else '; there is no other beside it'
        raise ValueError(f'{path} is no whole checkpoint: {problem}{there}')


#: What a run calls its checkpoints; a model that a user or a stage has put beside them is none.
CHECKPOINT_NAME = re.compile(r'(epoch|iter)_(\d+)\.pth|interrupted\.pth')


def latest_whole(work_dir: str | Path, *elsewhere: str | Path) -> tuple[Path | None, list[Path]]:
    """The checkpoint to resume a run from, and the broken ones that are passed over on the way to it.

    The one that ``last_checkpoint`` names, by its name: a copied folder resumes from itself. Without it, the one that
    has made most iterations.

    Args:
        work_dir: folder of the run.
        *elsewhere: further folders that its checkpoints may lie in.
    """
    folders = [Path(work_dir), *map(Path, elsewhere)]
    mark = folders[0] / 'last_checkpoint'
    text = mark.read_text(errors='replace').strip() if mark.is_file() else ''
    files = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
    named = [path for path in files if path.name == Path(text).name]
    there = [path for path in files if CHECKPOINT_NAME.fullmatch(path.name)]
    skipped: list[Path] = []
    for path in named:
        if not broken(path):
            return path, skipped
        skipped.append(path)
    for path in sorted((path for path in there if path not in named), key=_progress, reverse=True):
        if not broken(path):
            return path, skipped
        skipped.append(path)
    return None, skipped


def _progress(path: Path) -> tuple[int, int]:
    """How far a checkpoint's training had come: iterations, or what the name says where the file does not tell."""
    made = read_meta(path).get('iter')
    number = re.search(r'\d+', path.name)
    return (made if isinstance(made, int) else -1, int(number[0]) if number else 0)


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
