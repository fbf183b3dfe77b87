# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Entropy of predictions, at a location and over locations: everything that the package is named after.

Natural logarithms throughout, so every entropy is in nats. No function takes the logarithm of a probability: entropies
come from logits through log-softmax, and stay finite for any finite logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Score = Literal['softmax', 'sigmoid']
Mapping = Literal['exp', 'kl', 'linear']

MAPPINGS = ('exp', 'kl', 'linear')
SCORES = ('softmax', 'sigmoid')
# Locations of a chunk's matrix product: small maps share one, for speed; an image of 14×14 or more needs no copy.
CHUNK_LOCATIONS = 256


def softmax_entropy(logits: Tensor, dim: int = 1) -> Tensor:
    r"""Entropy of ``softmax(logits)``, :math:`H(p) = -\sum_k p_k \log p_k`.

    Args:
        logits: scores of any shape.
        dim: the dimension of the classes.

    Returns:
        the shape of ``logits`` without ``dim``; nats in :math:`[0, \log C]`.

    >>> softmax_entropy(torch.zeros(1, 4))  # knowing nothing of four classes: log 4
    tensor([1.3863])
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

    >>> binary_entropy(torch.tensor([0.0]))  # a fair coin: log 2
    tensor([0.6931])
    """
    a = logits.abs()
    return F.softplus(-a) + a * torch.sigmoid(-a)


def max_entropy(num_classes: int, score: Score = 'softmax') -> float:
    r"""The entropy of knowing nothing: :math:`\log C` for a softmax, :math:`\log 2` for the mean of sigmoids.

    >>> round(max_entropy(4), 4), round(max_entropy(4, 'sigmoid'), 4)
    (1.3863, 0.6931)
    """
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
    the binary entropies (a multi-label model's reading). The gradient is
    :math:`\partial H / \partial z_k = -p_k(\log p_k + H)`.

    Without ``chunk_size`` all logits exist once, and the gradient is kept in their place for the backward: three matrix
    products of B·H·W × D × C multiplications in all. With it the logits are never kept: forward and backward go over
    the classes ``chunk_size`` at a time with an online log-sum-exp (four products), so the memory is that of one chunk
    and of four (H, W) maps.

    Args:
        features: (B, D, H, W) feature map. Half precision is read as it is; entropies are accumulated in float32.
        weight: (C, D) weights of the classifier.
        bias: (C,) or None.
        score: ``softmax`` or ``sigmoid``.
        topk: the entropy among the ``topk`` best classes of each location only (renormalised); None takes all.
        chunk_size: how many classes' logits may exist at once; None, the fastest, takes all.

    Returns:
        (B, H, W) nats: float64 for float64 features, else float32.

    Raises:
        ValueError: if shapes, ``score``, ``topk`` or ``chunk_size`` do not fit.

    Source:
        the importance of a location is the uncertainty of its class prediction, after Wan et al., "Entropy-based
        feature weighting" (ICCV 2019); the chunked evaluation is ours.

    >>> features = torch.tensor([[[[1.0, 3.0]]]]).log()  # one channel, two locations
    >>> location_entropy(features, weight=torch.tensor([[1.0], [0.0]]))  # p = (1/2, 1/2) and p = (3/4, 1/4)
    tensor([[[0.6931, 0.5623]]])
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
    with torch.autocast(device_type, enabled=False):
        if torch.onnx.is_in_onnx_export():  # the exporter traces plain operations, not autograd functions
            entropy, _, _ = _whole_entropy(_columns(features), weight, bias, score, topk, with_slope=False)
            return entropy.view(features.shape[0], *features.shape[2:])
        if chunk_size is None:
            return _WholeEntropy.apply(features, weight, bias, score, topk, torch.is_grad_enabled())
        return _ChunkedEntropy.apply(features, weight, bias, score, topk, chunk_size)


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.float64 else torch.float32


def _columns(features: Tensor) -> Tensor:
    """(B, D, H, W) as (D, B·H·W): one product with the classifier's matrix then serves all locations of the batch."""
    return features.flatten(2).transpose(0, 1).reshape(features.shape[1], -1)


def _chunk_logits(columns: Tensor, weight: Tensor, bias: Tensor, start: int, stop: int) -> Tensor:
    """Logits (stop - start, n) of some classes at n locations, in the accumulation type; a tensor of its own."""
    logits = torch.addmm(bias[start:stop, None], weight[start:stop], columns)
    return logits.to(_accumulator(columns.dtype))


def _whole_entropy(
    columns: Tensor, weight: Tensor, bias: Tensor, score: Score, topk: int | None, with_slope: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Entropy (n,), its slope ∂H/∂z (C or k, n) and, with ``topk``, the classes (k, n) that the slope is about."""
    z, index = _chunk_logits(columns, weight, bias, 0, len(weight)), None
    if topk is not None:
        z, index = z.topk(topk, dim=0)
    if score == 'sigmoid':
        return binary_entropy(z).mean(0), (_binary_slope(z) / len(z) if with_slope else None), index
    # In place: two tensors of the logits' size are all it takes.
    z -= z.amax(0)
    e = z.exp()
    s = e.sum(0)
    ez = z.mul_(e)
    mean = ez.sum(0) / s
    # −p_k (log p_k + H) with p = e / s, log p = z − log s and H = log s − mean.
    slope = e.mul_(mean).sub_(ez).div_(s) if with_slope else None
    return (s.log() - mean).clamp_(min=0), slope, index


class _WholeEntropy(torch.autograd.Function):
    """All classes at once: the forward keeps ∂H/∂z, so that the backward is its two matrix products and no more."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, score: Score, topk: int | None, keep: bool
    ) -> Tensor:
        entropy, slope, index = _whole_entropy(_columns(features), weight, bias, score, topk, keep)
        if keep:
            ctx.save_for_backward(features, weight, slope if slope is None else slope.to(features.dtype), index)
        return entropy.view(features.shape[0], *features.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, slope, index = ctx.saved_tensors
        need_f, need_w, need_b = ctx.needs_input_grad[:3]
        g = (slope * grad.reshape(-1)).to(features.dtype)
        if index is not None:
            g = g.new_zeros(len(weight), g.shape[1]).scatter_(0, index, g)
        grad_f = grad_w = grad_b = None
        if need_w:
            grad_w = g @ _columns(features).t()
        if need_b:
            grad_b = g.sum(1)
        if need_f:
            grad_f = (weight.t() @ g).view(-1, len(features), *features.shape[2:]).transpose(0, 1)
        return grad_f, grad_w, grad_b, None, None, None


class _ChunkedEntropy(torch.autograd.Function):
    """A chunk of classes at a time, for some images at a time; the backward computes the logits once more.

    Nothing of the size of the logits or of the whole feature map is ever made beside the gradients themselves.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, score: Score, topk: int | None, chunk: int
    ) -> Tensor:
        ctx.score, ctx.topk = score, topk
        ctx.spans = [(i, min(i + chunk, len(weight))) for i in range(0, len(weight), chunk)]
        ctx.images = max(1, CHUNK_LOCATIONS // features.shape[2:].numel())
        results: list[tuple[Tensor, ...]] = []
        for group in features.split(ctx.images):
            columns = _columns(group)
            chunks = (_chunk_logits(columns, weight, bias, *span) for span in ctx.spans)
            if topk is not None:
                values, index = _online_topk(chunks, topk)
                top, log_sum, entropy = _online_entropy([values])
                if score == 'sigmoid':
                    entropy = binary_entropy(values).mean(0)
                results.append((entropy, top, log_sum, values, index))
            elif score == 'sigmoid':
                total = columns.new_zeros(columns.shape[1], dtype=_accumulator(columns.dtype))
                for z in chunks:
                    total += binary_entropy(z).sum(0)
                results.append((total / len(weight),))
            else:
                top, log_sum, entropy = _online_entropy(chunks)
                results.append((entropy, top, log_sum))
        entropy, *rest = (torch.cat(parts, -1) for parts in zip(*results))
        ctx.save_for_backward(features, weight, bias, entropy, *rest)
        return entropy.view(features.shape[0], *features.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, bias, *rest = ctx.saved_tensors
        need_f, need_w, need_b = ctx.needs_input_grad[:3]
        grad_f = features.new_zeros(features.shape, dtype=_accumulator(features.dtype)) if need_f else None
        grad_w = torch.zeros_like(weight, dtype=_accumulator(weight.dtype)) if need_w else None
        grad_b = torch.zeros_like(bias, dtype=_accumulator(bias.dtype)) if need_b else None
        locations = ctx.images * features.shape[2:].numel()
        parts = zip(*(tensor.split(locations, -1) for tensor in (grad.reshape(-1), *rest)))
        for i, (upstream, *of_group) in enumerate(parts):
            images = slice(i * ctx.images, (i + 1) * ctx.images)
            columns = _columns(features[images])
            grad_columns = None
            if grad_f is not None:  # one image's columns are a view of its gradient
                grad_columns = _columns(grad_f[images])
            for start, stop in ctx.spans:
                g = _chunk_gradient(ctx, columns, weight, bias, of_group, start, stop) * upstream
                if grad_b is not None:
                    grad_b[start:stop] += g.sum(1)
                g = g.to(features.dtype)
                if grad_w is not None:
                    _add_product(grad_w[start:stop], g, columns.t())
                if grad_columns is not None:
                    _add_product(grad_columns, weight[start:stop].t(), g)
            if grad_f is not None and grad_columns is not None and len(features[images]) > 1:
                grad_f[images] = grad_columns.view(-1, *features[images, 0].shape).transpose(0, 1)
        return _like(grad_f, features), _like(grad_w, weight), _like(grad_b, bias), None, None, None


def _like(grad: Tensor | None, parameter: Tensor) -> Tensor | None:
    return None if grad is None else grad.to(parameter.dtype)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """``total += a @ b`` in place; products of half precision are added up in float32."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b


def _online_entropy(chunks: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """m = max z, log s and the entropy over chunks of logits, with s = Σ e^(z−m) and t = Σ (z−m) e^(z−m).

    m and log s stay apart: their sum, the log-sum-exp, would lose log s in the digits of a large m.
    """
    sums: tuple[Tensor, Tensor, Tensor] | None = None
    for z in chunks:
        low = z.amax(0)
        if sums is None:
            m, s, t = low, torch.zeros_like(low), torch.zeros_like(low)
        else:
            m, s, t = sums
            new = torch.maximum(m, low)
            shift = m - new
            scale = shift.exp()
            t = (t + shift * s) * scale
            s, m = s * scale, new
        z = z - m
        e = z.exp()
        sums = m, s + e.sum(0), t + e.mul_(z).sum(0)
    if sums is None:
        raise ValueError('there are no classes to take the entropy of')
    m, s, t = sums
    log_s = s.log()
    return m, log_s, (log_s - t / s).clamp_(min=0)


def _online_topk(chunks: Iterable[Tensor], topk: int) -> tuple[Tensor, Tensor]:
    """The ``topk`` best logits of every location and their class indices, chunk by chunk: (k, n) twice."""
    best: tuple[Tensor, Tensor] | None = None
    offset = 0
    for z in chunks:
        index = torch.arange(offset, offset + len(z), device=z.device)[:, None].expand_as(z)
        offset += len(z)
        if best is not None:
            z, index = torch.cat([best[0], z]), torch.cat([best[1], index])
        values, order = z.topk(min(topk, len(z)), dim=0)
        best = values, index.gather(0, order)
    if best is None:
        raise ValueError('there are no classes to take the best of')
    return best


def _entropy_slope(z: Tensor, entropy: Tensor, top: Tensor, log_sum: Tensor) -> Tensor:
    """∂H/∂z_k = −p_k (log p_k + H), with log p = (z − m) − log s."""
    log_p = (z - top).sub_(log_sum)
    p = log_p.exp()
    return log_p.add_(entropy).mul_(p).neg_()


def _binary_slope(z: Tensor) -> Tensor:
    """∂h/∂z = −z σ(z) σ(−z)."""
    return -z * torch.sigmoid(z) * torch.sigmoid(-z)


def _chunk_gradient(
    ctx: Any, columns: Tensor, weight: Tensor, bias: Tensor, of_group: list[Tensor], start: int, stop: int
) -> Tensor:
    """∂H/∂z for the classes ``start:stop``, (stop − start, n)."""
    if ctx.topk is not None:
        entropy, top, log_sum, values, index = of_group
        softmax = ctx.score == 'softmax'
        slope = _entropy_slope(values, entropy, top, log_sum) if softmax else _binary_slope(values) / ctx.topk
        here = (index >= start) & (index < stop)
        dense = slope.new_zeros(stop - start, slope.shape[1])
        return dense.scatter_add_(0, (index - start).clamp(0, stop - start - 1), slope * here)
    z = _chunk_logits(columns, weight, bias, start, stop)
    if ctx.score == 'sigmoid':
        return _binary_slope(z) / len(weight)
    return _entropy_slope(z, *of_group)


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

    >>> entropy_weights(torch.tensor([[1.0, 2.0]]).log(), num_classes=10)  # H = 0 and log 2: twice the weight
    tensor([[0.6667, 0.3333]])
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

    >>> weighted_pool(torch.tensor([[[[4.0, 8.0]]]]), torch.tensor([[[0.75, 0.25]]]))
    tensor([[5.]])
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
