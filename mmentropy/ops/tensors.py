# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Functions that take arrays or tensors: which of them it is, without importing torch (300 MB, more than a second)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeIs


def is_tensor(value: Any) -> TypeIs[Tensor]:
    """Whether a value is a torch tensor: where torch is not loaded, nothing is.

    >>> import torch
    >>> is_tensor(torch.zeros(2)), is_tensor([0.0])
    (True, False)
    """
    torch = sys.modules.get('torch')
    return torch is not None and isinstance(value, torch.Tensor)
