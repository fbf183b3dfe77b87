# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Entropy of predictions, at a location and over locations: everything that the package is named after.

Natural logarithms throughout, so every entropy is in nats. No function takes the logarithm of a probability: entropies
come from logits through log-softmax, and stay finite for any finite logits.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Score = Literal['softmax', 'sigmoid']
Mapping = Literal['exp', 'kl', 'linear']

MAPPINGS = ('exp', 'kl', 'linear')
SCORES = ('softmax', 'sigmoid')


def softmax_entropy(logits: Tensor, dim: int = 1) -> Tensor:
    r"""Entropy of ``softmax(logits)``, :math:`H(p) = -\sum_k p_k \log p_k`.

    Args:
        logits: scores of any shape.
        dim: the dimension of the classes.

    Returns:
        the shape of ``logits`` without ``dim``; nats in :math:`[0, \log C]`.
    """
    log_p = logits.log_softmax(dim)
    return -(log_p.exp() * log_p).sum(dim)


def binary_entropy(logits: Tensor) -> Tensor:
    r"""Entropy of a Bernoulli variable with probability :math:`\sigma(z)`, element by element.

    :math:`h(z) = \log(1 + e^{-|z|}) + |z|\,\sigma(-|z|)`, which has neither overflow nor cancellation.

    Args:
        logits: scores of any shape.

    Returns:
        the same shape; nats in :math:`[0, \log 2]`.
    """
    a = logits.abs()
    return F.softplus(-a) + a * torch.sigmoid(-a)


def max_entropy(num_classes: int, score: Score = 'softmax') -> float:
    r"""The entropy of knowing nothing: :math:`\log C` for a softmax, :math:`\log 2` for the mean of sigmoids."""
    return math.log(num_classes) if score == 'softmax' else math.log(2)


def location_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    score: Score = 'softmax',
    topk: int | None = None,
    chunk_size: int | None = None,
) -> Tensor:
    r"""Entropy of a linear classifier's prediction at every location of a feature map.

    With :math:`z_i = W f_i + b` the logits at location *i*: ``score='softmax'`` gives
    :math:`H_i = \log\sum_k e^{z_{ik}} - \sum_k p_{ik} z_{ik}`; ``score='sigmoid'`` gives the mean over the classes of
    the binary entropies (a multi-label model's reading). The logits are never kept: forward and backward go over the
    classes ``chunk_size`` at a time with an online log-sum-exp, so the memory is that of one chunk and of three
    (H, W) maps.
    The gradient is :math:`\partial H / \partial z_k = -p_k(\log p_k + H)`.

    Args:
        features: (B, D, H, W) feature map. Half precision is read as it is; entropies are accumulated in float32.
        weight: (C, D) weights of the classifier.
        bias: (C,) or None.
        score: ``softmax`` or ``sigmoid``.
        topk: the entropy among the ``topk`` best classes of each location only (renormalised); None takes all.
        chunk_size: how many classes' logits may exist at once; None takes all in one chunk.

    Returns:
        (B, H, W) nats: float64 for float64 features, else float32.

    Raises:
        ValueError: if shapes, ``score``, ``topk`` or ``chunk_size`` do not fit.

    Source:
        the importance of a location is the uncertainty of its class prediction, after Wan et al., "Entropy-based
        feature weighting" (ICCV 2019); the chunked evaluation is ours.
    """
    if features.ndim != 4:
        raise ValueError(f'features must be (B, D, H, W), got the shape {tuple(features.shape)}')
    if weight.ndim != 2 or weight.shape[1] != features.shape[1]:
        raise ValueError(
            f'weight must be (num_classes, {features.shape[1]}) for these features, got {tuple(weight.shape)}'
        )
    if score not in SCORES:
        raise ValueError(f'score must be one of {SCORES}, got {score!r}')
    num_classes = weight.shape[0]
    if topk is not None and topk < 1:
        raise ValueError(f'topk must be at least 1, got {topk}')
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f'chunk_size must be at least 1, got {chunk_size}')
    topk = None if topk is None or topk >= num_classes else int(topk)
    if bias is None:
        bias = weight.new_zeros(num_classes)
    # Inside autocast the classifier itself runs in the low precision; so does its reading at every location.
    device_type = features.device.type
    if torch.is_autocast_enabled(device_type):
        dtype = torch.get_autocast_dtype(device_type)
        features, weight, bias = features.to(dtype), weight.to(dtype), bias.to(dtype)
    elif weight.dtype != features.dtype:
        weight, bias = weight.to(features.dtype), bias.to(features.dtype)
    arguments = (features, weight, bias, score, topk, chunk_size or num_classes)
    with torch.autocast(device_type, enabled=False):
        if torch.onnx.is_in_onnx_export():  # the exporter traces plain operations, not autograd functions
            return _LocationEntropy.forward(SimpleNamespace(save_for_backward=lambda *_: None), *arguments)
        return _LocationEntropy.apply(*arguments)


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.float64 else torch.float32


def _chunk_logits(features: Tensor, weight: Tensor, bias: Tensor, start: int, stop: int) -> Tensor:
    """Logits (B, stop - start, H, W) of some classes, in the accumulation type: a 1×1 convolution."""
    logits = F.conv2d(features, weight[start:stop, :, None, None], bias[start:stop])
    return logits.to(_accumulator(features.dtype))


def _online_entropy(chunks) -> tuple[Tensor, Tensor]:
    """Log-sum-exp and entropy over chunks of logits: keeps m = max z, s = Σ e^(z−m), t = Σ (z−m) e^(z−m)."""
    m = s = t = None
    for z in chunks:
        low = z.amax(1)
        if m is None:
            m, s, t = low, torch.zeros_like(low), torch.zeros_like(low)
        else:
            new = torch.maximum(m, low)
            shift = m - new
            scale = shift.exp()
            t = (t + shift * s) * scale
            s, m = s * scale, new
        z = z - m.unsqueeze(1)
        e = z.exp()
        s = s + e.sum(1)
        t = t + e.mul_(z).sum(1)
    log_s = s.log()
    return m + log_s, (log_s - t / s).clamp_(min=0)


class _LocationEntropy(torch.autograd.Function):
    """Forward and backward of :func:`location_entropy`, one chunk of classes at a time."""

    @staticmethod
    def forward(ctx, features, weight, bias, score, topk, chunk):
        num_classes = weight.shape[0]
        spans = [(i, min(i + chunk, num_classes)) for i in range(0, num_classes, chunk)]
        chunks = (_chunk_logits(features, weight, bias, *span) for span in spans)
        ctx.spans, ctx.score, ctx.topk = spans, score, topk
        if topk is not None:
            values, index = _online_topk(chunks, topk)
            logsumexp, entropy = _online_entropy([values])
            if score == 'sigmoid':
                entropy = binary_entropy(values).mean(1)
            ctx.save_for_backward(features, weight, bias, values, index, logsumexp, entropy)
        elif score == 'sigmoid':
            entropy = sum(binary_entropy(z).sum(1) for z in chunks) / num_classes
            ctx.save_for_backward(features, weight, bias)
        else:
            logsumexp, entropy = _online_entropy(chunks)
            ctx.save_for_backward(features, weight, bias, logsumexp, entropy)
        return entropy

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        features, weight, bias, *rest = ctx.saved_tensors
        grad = grad.unsqueeze(1)
        need_f, need_w, need_b = ctx.needs_input_grad[:3]
        grad_f = torch.zeros_like(features, dtype=_accumulator(features.dtype)) if need_f else None
        grad_w = torch.empty_like(weight) if need_w else None
        grad_b = torch.empty_like(bias) if need_b else None
        for start, stop in ctx.spans:
            g = _chunk_gradient(ctx, features, weight, bias, rest, start, stop) * grad
            if need_b:
                grad_b[start:stop] = g.sum((0, 2, 3))
            g = g.to(features.dtype)
            if need_w:
                grad_w[start:stop] = torch.einsum('bchw,bdhw->cd', g, features)
            if need_f:
                grad_f += F.conv2d(g, weight[start:stop].t()[:, :, None, None])
        return (grad_f.to(features.dtype) if need_f else None), grad_w, grad_b, None, None, None


def _online_topk(chunks, topk: int) -> tuple[Tensor, Tensor]:
    """The ``topk`` best logits of every location and their class indices, chunk by chunk: (B, k, H, W) twice."""
    values = index = None
    offset = 0
    for z in chunks:
        new = torch.arange(offset, offset + z.shape[1], device=z.device).view(1, -1, 1, 1).expand_as(z)
        offset += z.shape[1]
        if values is not None:
            z, new = torch.cat([values, z], 1), torch.cat([index, new], 1)
        values, order = z.topk(min(topk, z.shape[1]), dim=1)
        index = new.gather(1, order)
    return values, index


def _entropy_slope(z: Tensor, logsumexp: Tensor, entropy: Tensor) -> Tensor:
    """∂H/∂z_k = −p_k (log p_k + H)."""
    log_p = z - logsumexp.unsqueeze(1)
    return -log_p.exp() * (log_p + entropy.unsqueeze(1))


def _binary_slope(z: Tensor) -> Tensor:
    """∂h/∂z = −z σ(z) σ(−z)."""
    return -z * torch.sigmoid(z) * torch.sigmoid(-z)


def _chunk_gradient(ctx, features, weight, bias, rest, start: int, stop: int) -> Tensor:
    """∂H/∂z for the classes ``start:stop``, (B, stop − start, H, W)."""
    if ctx.topk is not None:
        values, index, logsumexp, entropy = rest
        softmax = ctx.score == 'softmax'
        slope = _entropy_slope(values, logsumexp, entropy) if softmax else _binary_slope(values) / ctx.topk
        here = (index >= start) & (index < stop)
        dense = slope.new_zeros(len(slope), stop - start, *slope.shape[2:])
        return dense.scatter_add_(1, (index - start).clamp(0, stop - start - 1), slope * here)
    z = _chunk_logits(features, weight, bias, start, stop)
    if ctx.score == 'sigmoid':
        return _binary_slope(z) / weight.shape[0]
    return _entropy_slope(z, *rest)


def entropy_weights(
    entropy: Tensor,
    num_classes: int,
    mapping: Mapping = 'exp',
    temperature: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-6,
) -> Tensor:
    r"""Location weights that fall with the entropy and sum to one over the locations.

    ========== =====================================================================
    mapping    weight before normalisation
    ========== =====================================================================
    ``exp``    :math:`\exp(-H/T)^\gamma`; GAP as T → ∞, the least-entropy location as T → 0
    ``kl``     :math:`(\log C - H + \varepsilon)^\gamma`, where :math:`\log C - H = KL(p\|u)`
    ``linear`` :math:`(1 - H/\log C + \varepsilon)^\gamma`
    ========== =====================================================================

    All locations certain, all uniform, or a single location give uniform weights, never NaN.

    Args:
        entropy: (..., H, W) nats.
        num_classes: C, which bounds the entropy by log C (2 for the mean binary entropy; k with ``topk=k``).
        mapping: see the table. Its source is not public: three options, none of them claimed to be the original.
        temperature: T of ``exp``, in nats.
        gamma: the power that sharpens (> 1) or flattens (< 1) the weights; 0 is GAP.
        eps: floor of ``kl`` and ``linear``, which keeps the weights defined when no location is certain.

    Returns:
        (..., H, W), float64 for float64 entropies, else float32; non-negative, summing to one over the last two axes.

    Raises:
        ValueError: for an unknown mapping or values outside their range.
    """
    if mapping not in MAPPINGS:
        raise ValueError(f'mapping must be one of {MAPPINGS}, got {mapping!r}')
    if temperature <= 0 or eps <= 0 or gamma < 0:
        raise ValueError(f'temperature and eps must be > 0 and gamma >= 0, got {temperature}, {eps} and {gamma}')
    entropy = entropy.to(_accumulator(entropy.dtype))
    shape, entropy = entropy.shape, entropy.flatten(-2)
    if mapping == 'exp':
        log_weight = entropy * (-gamma / temperature)
    else:
        # log C − H is ≥ 0 in exact arithmetic; rounding, and a single class (log C = 0), must not make it negative.
        top = math.log(num_classes) if num_classes > 1 else 1.0
        certainty = (math.log(num_classes) - entropy).clamp(min=0) if num_classes > 1 else torch.zeros_like(entropy)
        log_weight = gamma * ((certainty if mapping == 'kl' else certainty / top) + eps).log()
    return log_weight.softmax(-1).view(shape)


def weighted_pool(features: Tensor, weights: Tensor, mix: float = 0.0) -> Tensor:
    r"""Weighted mean over the locations, :math:`(1 - m)\sum_i w_i f_i + m \cdot \mathrm{GAP}(f)`.

    In half precision the rounded weights are divided by their sum, so that they still sum to one and uniform weights
    are exactly the mean.

    Args:
        features: (B, D, H, W).
        weights: (B, H, W), summing to one over the locations.
        mix: share *m* of the plain mean, in [0, 1].

    Returns:
        (B, D) in the type of ``features``.
    """
    if mix == 1:
        return features.mean((2, 3))  # GAP bit for bit
    flat = features.flatten(2)
    w = weights.flatten(1)
    if mix:
        w = (1 - mix) * w + mix / w.shape[1]
    rounded = w.to(features.dtype)
    pooled = torch.bmm(flat, rounded.unsqueeze(2)).squeeze(2)
    if features.dtype in (torch.float16, torch.bfloat16):
        pooled = (pooled.float() / rounded.float().sum(1, keepdim=True)).to(features.dtype)
    return pooled
