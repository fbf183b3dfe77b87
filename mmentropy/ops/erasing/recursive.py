# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks from class maps, and recursive erasing: what min-max entropy localisation does to an image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmentropy.ops.certainty.regularizers import cross_entropy

#: Maps whose values differ by less are constant: nothing in them stands out.
FLAT = 1e-6


def expected_map(maps: Tensor, scores: Tensor) -> Tensor:
    r"""The class maps' mean under the prediction :math:`\hat p` = softmax(scores): :math:`T = \sum_k \hat p_k M_k`.

    Args:
        maps: (B, C, h, w) class maps.
        scores: (B, C) logits.

    Returns:
        (B, 1, h, w), float32 or float64.

    >>> expected_map(torch.tensor([[[[0.0]], [[4.0]]]]), scores=torch.zeros(1, 2))  # half of each
    tensor([[[[2.]]]])
    """
    dtype = torch.promote_types(maps.dtype, torch.float32)
    return torch.einsum('bc,bchw->bhw', scores.to(dtype).softmax(1), maps.to(dtype)).unsqueeze(1)


def pseudo_threshold(
    soft: Tensor, size: tuple[int, int] | None = None, omega: float = 8.0, sigma: float | Tensor = 0.5
) -> Tensor:
    r"""A mask from a map, by a threshold that has a gradient.

    .. math:: R = \mathrm{sigmoid}(\omega (T' - \sigma)), \qquad T' = \frac{T - \min T}{\max T - \min T}

    T is enlarged first; minimum and maximum are each sample's own. A constant map has nothing that stands out: T' = 0,
    so the mask is sigmoid(−ωσ) everywhere and its gradient is finite.

    Args:
        soft: (B, 1, h, w) maps T.
        size: (height, width) they are enlarged to (bilinear); None leaves them.
        omega: steepness ω.
        sigma: threshold σ on the normalised map.

    Returns:
        (B, 1, height, width) in (0, 1), float32 or float64.

    >>> pseudo_threshold(torch.tensor([[[[0.0, 0.5, 1.0]]]]), omega=8.0, sigma=0.5)  # sigmoid of −4, 0 and 4
    tensor([[[[0.0180, 0.5000, 0.9820]]]])
    """
    soft = soft.to(torch.promote_types(soft.dtype, torch.float32))
    if size is not None:
        soft = F.interpolate(soft, size=size, mode='bilinear', align_corners=False)
    low = soft.amin((2, 3), keepdim=True)
    span = soft.amax((2, 3), keepdim=True) - low
    normalised = (soft - low) / torch.where(span > FLAT, span, torch.ones_like(span))
    normalised = torch.where(span > FLAT, normalised, torch.zeros_like(normalised))
    return torch.sigmoid(omega * (normalised - sigma))


def erasing_weight(
    step: int, sigma: float | Tensor, right: Tensor, loss: Tensor, first_loss: Tensor, confidence: Tensor
) -> Tensor:
    r"""Trust in a pass's mask, :math:`\psi = e^{-t/\sigma}\,[\mathrm{right}]\,[l_t \le l_0]\,\max_k \hat p_k`.

    Args:
        step: t, the number of the pass from 0.
        sigma: decay over the passes, in passes.
        right: (B,) bool: every pass so far, this one too, found the class.
        loss: (B,) this pass's losses.
        first_loss: (B,) the first pass's.
        confidence: (B,) the highest probability in this pass.

    Returns:
        (B,) weights in [0, 1].

    >>> right, loss, confidence = torch.tensor([True, False]), torch.tensor([0.1, 0.1]), torch.tensor([0.5, 0.5])
    >>> erasing_weight(1, 10.0, right, loss, first_loss=torch.tensor([0.2, 0.2]), confidence=confidence)  # ½ e^(−1/10)
    tensor([0.4524, 0.0000])
    """
    decay = math.exp(-step / sigma) if not isinstance(sigma, Tensor) else torch.exp(-step / sigma)
    return decay * confidence * (right & (loss <= first_loss))


class Erased(NamedTuple):
    """What recursive erasing found.

    Attributes:
        mask: (B, 1, H, W) the accumulated mask R.
        losses: (B,) each sample's localizer losses, summed over its passes.
        passes: how many passes were made.
        weights: (B, passes) ψ of every pass, without gradient.
    """

    mask: Tensor
    losses: Tensor
    passes: int
    weights: Tensor


def recursive_erasing(
    images: Tensor,
    labels: Tensor,
    localize: Callable[[Tensor], tuple[Tensor, Tensor]],
    steps: int,
    sigma: float | Tensor = 10.0,
    initial: str = 'zero',
    through_images: bool = False,
    stop_early: bool = True,
) -> Erased:
    r"""Find an object piece by piece: erase what was found, look again, and join the masks.

    For t = 0 … ``steps`` − 1, with :math:`(s_t, R_t) = M(X_t)` and ψ of :func:`erasing_weight`:

    .. math:: R \leftarrow \max(R, \psi_t R_t), \qquad X_{t+1} = X_t (1 - R)

    A sample is out after the first pass that misses its class: ψ is zero from that pass on, and later passes add
    nothing to its loss. So what a sample gets never depends on the others in its batch, and stopping when no sample is
    left changes nothing but the time. ``steps = 0`` is one pass without erasing: R is :math:`R_0` itself.

    Args:
        images: (B, D, H, W).
        labels: (B,) classes.
        localize: M: images to scores (B, C) and masks (B, 1, H, W).
        steps: u, the number of passes.
        sigma: of ψ.
        initial: R before the first pass: ``zero``, where a sample that the first pass misses has an empty mask, or
            ``mask``, the first pass's own :math:`R_0`, at its full height.
        through_images: let gradients go through the erased images and through ψ's confidence into the earlier passes.
            Without, both are constants: a pass learns from its own loss and from its part in R.
        stop_early: stop when no sample is left.

    Raises:
        ValueError: for negative ``steps`` or another ``initial``.

    Source:
        Belharbi et al., arXiv 1907.12934 and IEEE TMI 2022. That a sample which is out adds no further loss, the two
        choices of ``initial`` and the gradient's paths are not told there; they are options or choices of ours.

    >>> def localize(images):  # sure by 3/4 of class 0, which it sees on the left
    ...     return torch.tensor([[3.0, 1.0]]).log(), torch.tensor([[[[1.0, 0.0]]]])
    >>> recursive_erasing(torch.ones(1, 3, 1, 2), torch.tensor([0]), localize, steps=2).mask
    tensor([[[[0.7500, 0.0000]]]])
    """
    if steps < 0:
        raise ValueError(f'erasing needs 0 or more steps, got {steps}')
    if initial not in ('zero', 'mask'):
        raise ValueError(f"initial must be 'zero' or 'mask', got {initial!r}")
    if steps == 0:
        scores, mask = localize(images)
        losses = cross_entropy(scores.to(mask.dtype), labels)
        return Erased(mask, losses, 1, mask.new_ones(len(mask), 1))
    left = torch.ones_like(labels, dtype=torch.bool)
    total = joined = first = images.new_zeros(())  # the first pass sets them
    weights = []
    for step in range(steps):
        scores, mask = localize(images)
        scores = scores.to(mask.dtype)
        losses = cross_entropy(scores, labels)
        first = losses.detach() if step == 0 else first
        total = losses if step == 0 else total + losses * left
        left = left & (scores.argmax(1) == labels)
        psi = erasing_weight(step, sigma, left, losses.detach(), first, scores.softmax(1).amax(1))
        psi = psi.to(mask.dtype) if through_images else psi.to(mask.dtype).detach()
        weights.append(psi.detach())
        if step == 0:
            joined = mask if initial == 'mask' else torch.zeros_like(mask)
        joined = torch.maximum(joined, psi.view(-1, 1, 1, 1) * mask)
        if step + 1 == steps or (stop_early and not left.any()):
            break
        images = images * (1 - (joined if through_images else joined.detach()))
    return Erased(joined, total, len(weights), torch.stack(weights, 1))
