# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Mean field of the fully connected CRF (Krähenbühl and Koltun, NeurIPS 2011); no compiler on the user's side.

.. math::
    E(x) = \sum_i U_i(x_i) + \sum_{i<j} \mu(x_i, x_j) \sum_m w_m k_m(f_i, f_j), \qquad
    Q_i \leftarrow \mathrm{softmax}\Big(-U_i + \sum_m C_m\, \tilde K_m Q\Big)_i

with Gaussian kernels :math:`k_m`, their normalised filters :math:`\tilde K_m` (lattice approximation, see
:mod:`mmentropy.ops.refining.permutohedral`) and :math:`C_m = -w_m \mu`. Parameters have the names and meanings of the
package that is usually used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from mmentropy.ops.jit import F32, I32, jit

from .permutohedral import Permutohedral, slice_lattice

NORMALIZATIONS = ('symmetric', 'before', 'after', 'none')
Compat = float | Sequence[float] | np.ndarray


def available_cores() -> int:
    """Cores that this process may use.

    >>> available_cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


class Gaussian(NamedTuple):
    """Smoothness kernel on positions.

    Args:
        sxy: standard deviation in pixels, one number or (x, y).
        compat: a number w (Potts: w for two labels that differ, larger means smoother), or as in the usual package the
            costs themselves: (L,) on the diagonal or (L, L), where agreeing labels want **negative** numbers.
        normalization: ``symmetric`` :math:`D^{-1/2} K D^{-1/2}`, ``before`` :math:`K D^{-1}`, ``after``
            :math:`D^{-1} K` or ``none``, with D the filter of the constant 1.

    >>> Gaussian(sxy=3, compat=3)
    Gaussian(sxy=3, compat=3, normalization='symmetric')
    """

    sxy: float | tuple[float, float] = 3.0
    compat: Compat = 3.0
    normalization: str = 'symmetric'


class Bilateral(NamedTuple):
    """Appearance kernel on positions and colours; the arguments of :class:`Gaussian`, and

    Args:
        srgb: standard deviation of the colours in grey levels, one number or one a channel.

    >>> Bilateral(srgb=5)
    Bilateral(sxy=80.0, srgb=5, compat=10.0, normalization='symmetric')
    """

    sxy: float | tuple[float, float] = 80.0
    srgb: float | Sequence[float] = 13.0
    compat: Compat = 10.0
    normalization: str = 'symmetric'


#: The constants of AffinityNet's, IRN's and DeepLab's post-processing.
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

    >>> unary_from_probability(np.array([[[0.75]], [[0.25]]])).round(4)[:, 0, 0]
    array([0.2877, 1.3863], dtype=float32)
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

    >>> unary_from_labels(np.array([[0, 255]]), num_labels=2, confidence=0.75).round(4)[:, 0]
    array([[0.2877, 0.6931],
           [1.3863, 0.6931]], dtype=float32)
    """
    labels = np.asarray(labels)
    sure = labels != unsure
    if num_labels < 2 or not 0 < confidence < 1:
        raise ValueError(f'need 2 or more labels and 0 < confidence < 1, got {num_labels} and {confidence}')
    if sure.any() and (labels[sure].min() < 0 or labels[sure].max() >= num_labels):
        strangers = sorted(set(np.unique(labels[sure]).tolist()) - set(range(num_labels)))
        raise ValueError(f'label map holds {strangers}; labels must be 0 … {num_labels - 1} or {unsure} for unsure')
    unary = np.full((num_labels, *labels.shape), -np.log((1 - confidence) / (num_labels - 1)), np.float32)
    rows = np.nonzero(sure)
    unary[(labels[sure].astype(np.int64), *rows)] = -np.log(confidence)
    unary[:, ~sure] = np.log(num_labels)
    return unary


def position_features(size: tuple[int, int], sxy: float | tuple[float, float]) -> np.ndarray:
    """(H·W, 2) float32 features (x / σx, y / σy) in raster order.

    >>> position_features((1, 3), sxy=2.0).tolist()
    [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]]
    """
    sx, sy = np.broadcast_to(np.asarray(sxy, np.float32), 2)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return np.stack([x.ravel() / sx, y.ravel() / sy], axis=1)


def bilateral_features(
    image: np.ndarray, sxy: float | tuple[float, float], srgb: float | Sequence[float]
) -> np.ndarray:
    """(H·W, 2 + C) float32 features (x / σx, y / σy, colours / σ) in raster order; ``image`` (H, W, C).

    >>> bilateral_features(np.full((1, 1, 3), 26), sxy=80.0, srgb=13.0).tolist()
    [[0.0, 0.0, 2.0, 2.0, 2.0]]
    """
    colours = image.reshape(-1, image.shape[-1]).astype(np.float32)
    spread = np.broadcast_to(np.asarray(srgb, np.float32), colours.shape[1])
    return np.concatenate([position_features(image.shape[:2], sxy), colours / spread], axis=1)


@lru_cache(maxsize=4)
def _position_lattice(size: tuple[int, int], sxy: float | tuple[float, float]) -> Permutohedral:
    """Data sets have few image sizes, so the position lattice is worth keeping."""
    return Permutohedral(position_features(size, sxy))


class _Filter(NamedTuple):
    """One kernel, ready: normalisation folded into the weights that splat and that slice.

    Args:
        lattice: of the kernel's features, N points with d dimensions.
        splat: (N, d + 1) weights with which values enter the lattice.
        slice: (N, d + 1) weights with which they leave it.
        ones: (N,) the normalised filter of the constant 1.
        compat: (L, L) the matrix C.
        diagonal: whether C is: L products a pixel instead of L².
    """

    lattice: Permutohedral
    splat: F32
    slice: F32
    ones: F32
    compat: F32
    diagonal: bool


def _prepare(kernel: Gaussian | Bilateral, image: np.ndarray | None, size: tuple[int, int], labels: int) -> _Filter:
    if isinstance(kernel, Bilateral):
        if image is None:
            raise ValueError('a bilateral kernel needs the image')
        lattice = Permutohedral(bilateral_features(image, kernel.sxy, kernel.srgb))
    else:
        lattice = _position_lattice(size, tuple(kernel.sxy) if isinstance(kernel.sxy, Sequence) else kernel.sxy)
    if kernel.normalization not in NORMALIZATIONS:
        raise ValueError(f'normalization must be one of {NORMALIZATIONS}, got {kernel.normalization!r}')
    mass = lattice.filter(np.ones(size[0] * size[1], np.float32)) + np.float32(1e-20)
    power = {'symmetric': (-0.5, -0.5), 'before': (-1, 0), 'after': (0, -1), 'none': (0, 0)}[kernel.normalization]
    splat = lattice.weight * (mass ** np.float32(power[0]))[:, None]
    cut = lattice.weight * (mass ** np.float32(power[1]))[:, None] * np.float32(lattice.scale)
    ones = lattice.filter(mass ** np.float32(power[0])) * mass ** np.float32(power[1])
    compat: np.ndarray = np.asarray(kernel.compat, np.float32)
    if compat.shape not in ((), (labels,), (labels, labels)):
        raise ValueError(f'compat has shape {compat.shape}; it must be a number, ({labels},) or ({labels}, {labels})')
    if compat.ndim == 2:  # the energy is a sum over pairs, so only the symmetric part of a matrix matters
        compat = -(compat + compat.T) / 2
    else:
        compat = np.diag(np.broadcast_to(-compat if compat.ndim else compat, labels))
    diagonal = bool((compat == np.diag(np.diag(compat))).all())
    return _Filter(lattice, splat, cut, ones, np.ascontiguousarray(compat), diagonal)


@jit(nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def _add_message(message: F32, ones: F32, compat: F32, diagonal: bool, logits: F32, begin: int, end: int) -> None:
    """logits += C · message. Q sums to one, so the last label's message is the filter of 1 minus the others'.

    Args:
        message: (N, L) filtered Q, its last column computed here: the lattice need not carry it.
        ones: (N,) the filter of the constant 1.
        compat: (L, L) the matrix C.
        diagonal: whether C is.
        logits: (N, L) nats, added to.
        begin: first pixel.
        end: one past the last.
    """
    labels = logits.shape[1]
    for p in range(begin, end):
        rest = ones[p]
        for c in range(labels - 1):
            rest -= message[p, c]
        message[p, labels - 1] = rest
        for c in range(labels):
            if diagonal:
                logits[p, c] += compat[c, c] * message[p, c]
            else:
                total = np.float32(0)
                for k in range(labels):
                    total += compat[c, k] * message[p, k]
                logits[p, c] += total


@jit(nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def _exp(row: F32, bits: I32, power: F32) -> None:
    """exp of non-positive numbers in place, as 2^k · 2^f with a polynomial for 2^f: it runs in vectors; error < 3e-7.

    Args:
        row: (L,) numbers ≤ 0; their exponentials afterwards, the least 2^-126.
        bits: (L,) work space.
        power: (L,) the same buffer seen as floats: an exponent is written as an integer, and 2^k read.
    """
    for c in range(len(row)):
        x = max(row[c] * np.float32(1.4426950408889634), np.float32(-126))  # log2(e); no denormal numbers
        k = np.int32(x - np.float32(0.5))  # to the nearest, x being negative
        bits[c] = (k + np.int32(127)) << np.int32(23)  # biased exponent above 23 bits of mantissa: the float 2^k
        f = x - np.float32(k)  # in [-½, ½], where the Taylor polynomial of 2^f to the sixth power is near enough
        e = np.float32(1.5403530393381608e-4)
        e = e * f + np.float32(1.3333558146428443e-3)
        e = e * f + np.float32(9.618129107628477e-3)
        e = e * f + np.float32(5.550410866482158e-2)
        e = e * f + np.float32(2.402265069591007e-1)
        e = e * f + np.float32(6.931471805599453e-1)
        row[c] = e * f + np.float32(1)
    for c in range(len(row)):
        row[c] *= power[c]


@jit(nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def _softmax(logits: F32, q: F32, begin: int, end: int) -> None:
    """q = softmax(logits) over the rows begin … end; the last label is left out where q has no room for it.

    Args:
        logits: (N, L) nats.
        q: (N, L) or (N, L − 1) out.
        begin: first pixel.
        end: one past the last.
    """
    labels = logits.shape[1]
    row, bits = np.empty(labels, np.float32), np.empty(labels, np.int32)
    power = bits.view(np.float32)
    for p in range(begin, end):
        top = logits[p, 0]
        for c in range(1, labels):
            top = max(top, logits[p, c])
        for c in range(labels):
            row[c] = logits[p, c] - top
        if labels > 4:  # short rows would leave vectors mostly empty
            _exp(row, bits, power)
        else:
            for c in range(labels):
                row[c] = np.exp(row[c])
        total = np.float32(0)
        for c in range(labels):
            total += row[c]
        scale = np.float32(1) / total
        for c in range(min(q.shape[1], labels)):
            q[p, c] = row[c] * scale


def dense_crf(
    unary: np.ndarray,
    image: np.ndarray | None = None,
    kernels: Sequence[Gaussian | Bilateral] = PSA_KERNELS,
    iterations: int = 10,
    threads: int | None = None,
) -> np.ndarray:
    r"""Mean-field marginals of the dense CRF, synchronous updates from :math:`Q^0 = \mathrm{softmax}(-U)`.

    Args:
        unary: (L, H, W) energies in nats, L ≥ 2; see :func:`unary_from_probability`.
        image: (H, W, 3) uint8, needed by a :class:`Bilateral` kernel.
        kernels: any number of :class:`Gaussian` and :class:`Bilateral`.
        iterations: updates; 0 gives softmax(−U).
        threads: None for all cores that this process may use, at most 16. The result does not depend on it.

    Returns:
        (L, H, W) float32 marginals, summing to 1 over labels.

    Raises:
        ValueError: for shapes that do not fit one another, values that are not finite, or an unknown normalisation.

    >>> labels = np.zeros((5, 5), int)
    >>> labels[2, 2] = 1  # alone among others: the neighbours outvote it
    >>> dense_crf(unary_from_labels(labels, 2), kernels=[Gaussian(sxy=3, compat=3)]).argmax(0).max().item()
    0
    """
    unary = np.asarray(unary, np.float32)
    if unary.ndim != 3 or len(unary) < 2:
        raise ValueError(f'unary must be (L, H, W) with two or more labels, got shape {unary.shape}')
    if not np.isfinite(unary).all():
        raise ValueError('unary holds NaN or infinite values; clip the probabilities before the logarithm')
    size = unary.shape[1:]
    if image is not None and np.asarray(image).shape[:2] != size:
        raise ValueError(f'the image has size {np.asarray(image).shape[:2]}, the unary {size}; resize the scores first')
    threads = threads or min(available_cores(), 16)
    with ThreadPoolExecutor(threads) as pool:
        return _mean_field(unary, None if image is None else np.asarray(image), kernels, iterations, threads, pool)


def _mean_field(
    unary: F32,
    image: np.ndarray | None,
    kernels: Sequence[Gaussian | Bilateral],
    iterations: int,
    threads: int,
    pool: ThreadPoolExecutor,
) -> F32:
    """:func:`dense_crf` on checked arguments. Work is cut along kernels and along pixels.

    Inside, arrays are (N, L) with N = H·W, so that a pixel's labels lie together; Q goes through the lattices without
    its last label, see :func:`_add_message`.
    """
    labels, size = len(unary), unary.shape[1:]
    filters = list(pool.map(lambda kernel: _prepare(kernel, image, size, labels), kernels))
    start = np.ascontiguousarray(-unary.reshape(labels, -1).T)
    n = len(start)
    q = np.empty_like(start)
    _softmax(start, q, 0, n)
    if not filters or iterations < 1:
        return np.ascontiguousarray(q.T).reshape(unary.shape)
    final, q = q, np.ascontiguousarray(q[:, : labels - 1])
    logits, message = np.empty_like(start), np.empty_like(start)
    bounds = np.linspace(0, n, 4 * threads + 1).astype(int)
    # Two parts a kernel whatever the number of threads: sums, and so results, do not depend on it.
    halves = slice(0, n // 2), slice(n // 2, n)

    def update(i: int, blurred: list[np.ndarray], out: np.ndarray) -> None:
        begin, end = bounds[i], bounds[i + 1]
        logits[begin:end] = start[begin:end]
        for lattice, f in zip(blurred, filters):
            slice_lattice(lattice, f.lattice.vertex, f.slice, message, begin, end)
            _add_message(message, f.ones, f.compat, f.diagonal, logits, begin, end)
        _softmax(logits, out, begin, end)

    for step in range(iterations):
        parts = list(pool.map(lambda job: job[0].lattice.splat(q, job[0].splat, job[1]), product(filters, halves)))
        sums = zip(filters, parts[::2], parts[1::2])
        blurred = list(pool.map(lambda part: part[0].lattice.blur(part[1] + part[2]), sums))
        out = final if step == iterations - 1 else q
        list(pool.map(lambda i, b=blurred, o=out: update(i, b, o), range(4 * threads)))
    return np.ascontiguousarray(final.T).reshape(unary.shape)
