# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Mixed precision where there is no GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmentropy.registry import OPTIM_WRAPPERS


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AMX, AVX512-BF16); elsewhere autocast slows down."""
    checks = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')
    return any(getattr(torch.cpu, name, bool)() for name in checks)


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """Forward passes under ``torch.autocast('cpu', torch.bfloat16)``.

    mmengine's ``AmpOptimWrapper`` insists on a GPU. bfloat16 has float32's range, so there is no loss scaler.

    >>> model = nn.Linear(1, 1)
    >>> wrapper = CpuAmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    >>> with wrapper.optim_context(model):
    ...     model(torch.zeros(1, 1)).dtype
    torch.bfloat16
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
