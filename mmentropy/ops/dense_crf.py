# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Mean field of the fully connected CRF (Krähenbühl and Koltun, NeurIPS 2011); no compiler on the user's side.

.. math::
    E(x) = \sum_i U_i(x_i) + \sum_{i<j} \mu(x_i, x_j) \sum_m w_m k_m(f_i, f_j), \qquad
    Q_i \leftarrow \mathrm{softmax}\Big(-U_i + \sum_m C_m\, \tilde K_m Q\Big)_i

with Gaussian kernels :math:`k_m`, their normalised filters :math:`\tilde K_m` (lattice approximation, see
:mod:`mmentropy.ops.permutohedral`) and :math:`C_m = -w_m \mu`. Parameters have the names and meanings of the package
that is usually used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import prange

from .jit import jit
from .permutohedral import Permutohedral, splat_blur

NORMALIZATIONS = ('symmetric', 'before', 'after', 'none')
Compat = float | Sequence[float] | np.ndarray


class Gaussian(NamedTuple):
    """Smoothness kernel on positions.

    Args:
        sxy: standard deviation in pixels, one number or (x, y).
        compat: a number w (Potts: w for two labels that differ, larger means smoother), or as in the usual package the
            costs themselves: (L,) on the diagonal or (L, L), where agreeing labels want **negative** numbers.
        normalization: ``symmetric`` :math:`D^{-1/2} K D^{-1/2}`, ``before`` :math:`K D^{-1}`, ``after``
            :math:`D^{-1} K` or ``none``, with D the filter of the constant 1.
    """

    sxy: float | tuple[float, float] = 3.0
    compat: Compat = 3.0
    normalization: str = 'symmetric'


class Bilateral(NamedTuple):
    """Appearance kernel on positions and colours; the arguments of :class:`Gaussian`, and

    Args:
        srgb: standard deviation of the colours in grey levels, one number or one a channel.
    """

    sxy: float | tuple[float, float] = 80.0
    srgb: float | Sequence[float] = 13.0
    compat: Compat = 10.0
    normalization: str = 'symmetric'


#: METHODS' constants: the post-processing of AffinityNet, IRN and DeepLab.
PSA_KERNELS = (Gaussian(3, 3), Bilateral(80, 13, 10))
IRN_KERNELS = (Gaussian(3, 3), Bilateral(50, 5, 10))
DEEPLAB_KERNELS = (Gaussian(3, 3), Bilateral(67, 3, 4))


def unary_from_probability(probability: np.ndarray, clip: float = 1e-5) -> np.ndarray:
    r"""Unary :math:`U = -\log \max(p, clip)`.

    Args:
        probability: (L, H, W) probabilities.
        clip: the smallest probability.

    Returns:
        (L, H, W) float32, in nats.
    """
    return -np.log(np.maximum(np.asarray(probability, np.float32), np.float32(clip)))


def unary_from_labels(labels: np.ndarray, num_labels: int, confidence: float = 0.7, unsure: int = 255) -> np.ndarray:
    r"""Unary of a hard label map: :math:`-\log c` at its label, :math:`-\log\frac{1 - c}{L - 1}` elsewhere.

    Args:
        labels: (H, W) integers in 0 … num_labels − 1, or ``unsure``: a uniform unary.
        num_labels: L.
        confidence: c, strictly between 1/L and 1.

    Returns:
        (L, H, W) float32, in nats.

    Raises:
        ValueError: if a label is out of range, or the confidence is.
    """
    labels = np.asarray(labels)
    sure = labels != unsure
    if num_labels < 2 or not 0 < confidence < 1:
        raise ValueError(f'need 2 or more labels and 0 < confidence < 1, got {num_labels} and {confidence}')
    if sure.any() and (labels[sure].min() < 0 or labels[sure].max() >= num_labels):
        found = sorted(set(np.unique(labels[sure]).tolist()) - set(range(num_labels)))
        raise ValueError(f'label map holds {found}; labels must be 0 … {num_labels - 1} or {unsure} for unsure')
    unary = np.full((num_labels, *labels.shape), -np.log((1 - confidence) / (num_labels - 1)), np.float32)
    rows = np.nonzero(sure)
    unary[(labels[sure].astype(np.int64), *rows)] = -np.log(confidence)
    unary[:, ~sure] = np.log(num_labels)
    return unary


def position_features(size: tuple[int, int], sxy: float | tuple[float, float]) -> np.ndarray:
    """(H·W, 2) float32 features (x / σx, y / σy) in raster order."""
    sx, sy = np.broadcast_to(np.asarray(sxy, np.float32), 2)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return np.stack([x.ravel() / sx, y.ravel() / sy], axis=1)


def bilateral_features(
    image: np.ndarray, sxy: float | tuple[float, float], srgb: float | Sequence[float]
) -> np.ndarray:
    """(H·W, 2 + C) float32 features (x / σx, y / σy, colours / σ) in raster order; ``image`` (H, W, C)."""
    colours = image.reshape(-1, image.shape[-1]).astype(np.float32)
    spread = np.broadcast_to(np.asarray(srgb, np.float32), colours.shape[1])
    return np.concatenate([position_features(image.shape[:2], sxy), colours / spread], axis=1)


@lru_cache(maxsize=4)
def _position_lattice(size: tuple[int, int], sxy: float | tuple[float, float]) -> Permutohedral:
    """Data sets have few image sizes, so the position lattice is worth keeping."""
    return Permutohedral(position_features(size, sxy))


class _Filter(NamedTuple):
    """One kernel, ready: normalisation folded into the weights that splat and that slice; filter of the constant 1."""

    lattice: Permutohedral
    splat: np.ndarray
    slice: np.ndarray
    ones: np.ndarray
    compat: np.ndarray


def _prepare(kernel: Gaussian | Bilateral, image: np.ndarray | None, size: tuple[int, int], labels: int) -> _Filter:
    if isinstance(kernel, Bilateral):
        if image is None:
            raise ValueError('a bilateral kernel needs the image')
        lattice = Permutohedral(bilateral_features(image, kernel.sxy, kernel.srgb))
    else:
        lattice = _position_lattice(size, kernel.sxy if np.isscalar(kernel.sxy) else tuple(kernel.sxy))
    if kernel.normalization not in NORMALIZATIONS:
        raise ValueError(f'normalization must be one of {NORMALIZATIONS}, got {kernel.normalization!r}')
    mass = lattice.filter(np.ones(size[0] * size[1], np.float32)) + np.float32(1e-20)
    power = {'symmetric': (-0.5, -0.5), 'before': (-1, 0), 'after': (0, -1), 'none': (0, 0)}[kernel.normalization]
    splat = lattice.weight * (mass ** np.float32(power[0]))[:, None]
    cut = lattice.weight * (mass ** np.float32(power[1]))[:, None] * np.float32(lattice.scale)
    ones = lattice.filter(mass ** np.float32(power[0])) * mass ** np.float32(power[1])
    compat = np.asarray(kernel.compat, np.float32)
    if compat.shape not in ((), (labels,), (labels, labels)):
        raise ValueError(f'compat has shape {compat.shape}; it must be a number, ({labels},) or ({labels}, {labels})')
    if compat.ndim == 2:  # the energy is a sum over pairs, so only the symmetric part of a matrix matters
        compat = -(compat + compat.T) / 2
    else:
        compat = np.diag(np.broadcast_to(-compat if compat.ndim else compat, labels))
    return _Filter(lattice, splat, cut, ones, np.ascontiguousarray(compat))


@jit(parallel=True, fastmath={'contract', 'reassoc', 'nsz'})
def _add_message(lattice, vertex, share, ones, compat, diagonal, logits, start, q, last):
    """logits += C · slice(lattice), and on an iteration's last kernel Q = softmax(logits); one sweep over pixels.

    The lattice holds L − 1 labels: as Q sums to one, the last label's message is the filter of 1 minus the others'.
    """
    n, labels = start.shape
    channels = lattice.shape[1]
    for p in prange(n):
        message = np.zeros(labels + 3, np.float32)
        for r in range(vertex.shape[1]):
            v, w = vertex[p, r], share[p, r]
            for c in range(channels):
                message[c] += w * lattice[v, c]
        rest = ones[p]
        for c in range(labels - 1):
            rest -= message[c]
        message[labels - 1] = rest
        if diagonal:
            for c in range(labels):
                logits[p, c] += compat[c, c] * message[c]
        else:
            for c in range(labels):
                total = np.float32(0)
                for k in range(labels):
                    total += compat[c, k] * message[k]
                logits[p, c] += total
        if last:
            top = logits[p, 0]
            for c in range(1, labels):
                top = max(top, logits[p, c])
            total = np.float32(0)
            for c in range(labels):
                e = np.exp(logits[p, c] - top)
                message[c] = e
                total += e
            for c in range(min(q.shape[1], labels)):
                q[p, c] = message[c] / total
            for c in range(labels):
                logits[p, c] = start[p, c]


def dense_crf(
    unary: np.ndarray,
    image: np.ndarray | None = None,
    kernels: Sequence[Gaussian | Bilateral] = PSA_KERNELS,
    iterations: int = 10,
) -> np.ndarray:
    r"""Mean-field marginals of the dense CRF, synchronous updates from :math:`Q^0 = \mathrm{softmax}(-U)`.

    Args:
        unary: (L, H, W) energies in nats, L ≥ 2; see :func:`unary_from_probability`.
        image: (H, W, 3) uint8, needed by a :class:`Bilateral` kernel.
        kernels: any number of :class:`Gaussian` and :class:`Bilateral`.
        iterations: updates; 0 gives softmax(−U).

    Returns:
        (L, H, W) float32 marginals, summing to 1 over labels.

    Raises:
        ValueError: for shapes that do not fit one another, values that are not finite, or an unknown normalisation.
    """
    unary = np.asarray(unary, np.float32)
    if unary.ndim != 3 or len(unary) < 2:
        raise ValueError(f'unary must be (L, H, W) with two or more labels, got shape {unary.shape}')
    if not np.isfinite(unary).all():
        raise ValueError('unary holds NaN or infinite values; clip the probabilities before the logarithm')
    labels, size = len(unary), unary.shape[1:]
    if image is not None and np.asarray(image).shape[:2] != size:
        raise ValueError(f'the image has size {np.asarray(image).shape[:2]}, the unary {size}; resize the scores first')
    filters = [_prepare(kernel, None if image is None else np.asarray(image), size, labels) for kernel in kernels]
    start = np.ascontiguousarray(-unary.reshape(labels, -1).T)
    logits = start - start.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    # One label less to filter; padded to whole vectors of four when there are more than one.
    channels = 1 if labels == 2 else -(-(labels - 1) // 4) * 4
    q = np.zeros((len(start), channels), np.float32)
    q[:, : labels - 1] = logits[:, : labels - 1]
    if not filters or iterations < 1:
        return np.ascontiguousarray(logits.T).reshape(labels, *size)
    logits[:] = start
    # The last sweep writes all labels.
    final = np.empty((len(start), labels), np.float32)
    buffers = [f.lattice.buffers(channels) for f in filters]
    for step in range(iterations):
        blurred = [
            splat_blur(q, f.splat, f.lattice.start, f.lattice.entry, f.lattice.neighbour, *work)
            for f, work in zip(filters, buffers)
        ]
        out = final if step == iterations - 1 else q
        for k, (f, lattice) in enumerate(zip(filters, blurred)):
            diagonal = bool(np.count_nonzero(f.compat) == np.count_nonzero(np.diag(f.compat)))
            last = k == len(filters) - 1
            _add_message(lattice, f.lattice.vertex, f.slice, f.ones, f.compat, diagonal, logits, start, out, last)
    return np.ascontiguousarray(final.T).reshape(labels, *size)
