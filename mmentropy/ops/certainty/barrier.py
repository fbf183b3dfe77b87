# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Keep an area above zero: the extended log barrier."""

from __future__ import annotations

import torch
from torch import Tensor


def extended_log_barrier(value: Tensor, t: float | Tensor) -> Tensor:
    r"""Penalty of the constraint :math:`f \le 0`, finite and with a slope everywhere.

    .. math:: \psi_t(f) = \begin{cases}
        -\frac1t \log(-f) & f \le -\frac1{t^2} \\
        t f - \frac1t \log\frac1{t^2} + \frac1t & \text{else}\end{cases}

    The line is the tangent of the logarithm at :math:`-1/t^2`: value and slope (t) are continuous there. As t grows the
    penalty tends to 0 where the constraint holds, and its slope to infinity where it does not.

    Args:
        value: f, any shape.
        t: sharpness, > 0; a tensor must broadcast against ``value``.

    Returns:
        the shape of ``value``.

    Raises:
        ValueError: if ``t``, given as a number, is not above 0.

    Source:
        Kervadec et al., "Constrained deep networks: Lagrangian optimization via log-barrier extensions" (2019).

    >>> extended_log_barrier(torch.tensor([-0.5, 1.0]), t=2.0)  # the constraint holds, and it does not
    tensor([0.3466, 3.1931])
    """
    if not isinstance(t, Tensor) and t <= 0:
        raise ValueError(f'the barrier needs a sharpness t above 0, got {t}')
    t = torch.as_tensor(t, dtype=value.dtype, device=value.device)
    edge = 1 / t**2
    inside = value <= -edge
    # Both branches are evaluated; the logarithm's argument is kept away from zero so that no NaN enters the gradient.
    logarithm = -torch.where(inside, -value, edge).log() / t
    line = t * value - edge.log() / t + 1 / t
    return torch.where(inside, logarithm, line)


def area_barrier(mask: Tensor, t: float | Tensor) -> Tensor:
    r"""Keep both sides of a mask from vanishing: :math:`\psi_t(-s^+) + \psi_t(-s^-)`.

    :math:`s^+` is the mean of the mask over the image (its share of the area, so that the penalty does not depend on
    the resolution), :math:`s^- = 1 - s^+`. Away from the ends this is
    :math:`-\frac1t(\log s^+ + \log s^-)`, least at one half.

    Args:
        mask: (B, ..., H, W) values in [0, 1].
        t: see :func:`extended_log_barrier`.

    Returns:
        (B,) penalties.

    >>> area_barrier(torch.tensor([[[[1.0, 0.0]]]]), t=5.0)  # half and half, the least: 2/5 log 2
    tensor([0.2773])
    """
    share = mask.flatten(1).mean(1)
    return extended_log_barrier(-share, t) + extended_log_barrier(share - 1, t)
