# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Which device a network goes to."""

from __future__ import annotations

import torch


def usable_device(device: str | torch.device | None = None) -> torch.device:
    """A device that torch can use here; None takes the GPU where there is one.

    Raises:
        ValueError: for a name that is no device, and for a device that this machine or this torch does not have.

    >>> usable_device('cpu')
    device(type='cpu')
    """
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f'device {device!r} is none that torch knows; take cpu, cuda, or cuda:0, cuda:1, …') from None
    if found.type == 'cuda' and not torch.cuda.is_available():
        why = 'torch was built without CUDA' if torch.version.cuda is None else 'there is no GPU or no driver'
        raise ValueError(f'device {str(found)!r} cannot be used: {why}; take cpu')
    if found.type == 'cuda' and (found.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise ValueError(f'device {str(found)!r} is not there; the last one is cuda:{last}')
    try:
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        told = str(error).strip().splitlines()[0]
        raise ValueError(f'device {str(found)!r} cannot be used: {told}; take cpu or cuda') from None
    return found
