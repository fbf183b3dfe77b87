# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Checkpoints are data: loading one runs no code from it unless the user says so."""

from __future__ import annotations

import os
from contextlib import suppress
from pickle import UnpicklingError

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as host

#: What mmengine's own checkpoints hold beside tensors and plain containers: the curves of the message hub.
SAFE_TYPES = [HistoryBuffer, np.ndarray, np.dtype, np.float64, np.float32, np.int64]
SAFE_TYPES += [type(np.dtype(name)) for name in ('float64', 'float32', 'int64', 'int32', 'bool', 'uint8')]


def _history_method(owner: type, name: str) -> object:
    """``getattr`` as far as a checkpoint needs it: the curves name their own four statistics, and nothing else."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise UnpicklingError(f'the checkpoint asks for getattr({owner!r}, {name!r})')
    return getattr(owner, name)


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
        reconstruct = getattr(np, '_core', None) or np.core
        torch.serialization.add_safe_globals(
            [*SAFE_TYPES, reconstruct.multiarray._reconstruct, reconstruct.multiarray.scalar]
        )
        with suppress(TypeError, AttributeError):  # torch before 2.6 takes no pairs of object and name
            names = '__builtin__.getattr', 'builtins.getattr', 'getattr'
            torch.serialization.add_safe_globals([(_history_method, name) for name in names])
    if hasattr(host, 'get_torch_safe_globals'):
        # The maintained mmengine admits all of getattr, from which a file can reach any function: ours is the list.
        host.get_torch_safe_globals = list
