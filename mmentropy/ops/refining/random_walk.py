# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Spreading class maps by a random walk on a sparse affinity (Ahn and Kwak, CVPR 2018), :math:`x\,T^{2^n}`.

The published code squares the dense N × N matrix n times, O(n N³) and N² numbers; here the walk takes :math:`2^n`
sparse steps, O(2^n · nnz). No N × N array is ever made.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from mmentropy.ops.jit import F32, I32, jit

from .affinity import inside


def sparse_affinity(pairs: np.ndarray, offsets: np.ndarray) -> sparse.csr_array:
    """The symmetric affinity matrix of the locations, with a diagonal of 1.

    Args:
        pairs: (P, H, W) affinities in [0, 1], see :mod:`mmentropy.ops.refining.affinity`; zeros are left out.
        offsets: (P, 2).

    Returns:
        (N, N) float32 CSR in raster order, N = H·W.

    Raises:
        ValueError: if the two do not fit, or an affinity is negative or not finite.

    >>> sparse_affinity(np.array([[[0.5, 0.0]]]), offsets=np.array([[0, 1]])).toarray().tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    pairs = np.asarray(pairs, np.float32)
    if pairs.ndim != 3 or len(pairs) != len(offsets):
        raise ValueError(f'affinities of shape {pairs.shape} do not fit {len(offsets)} offsets; need (P, H, W)')
    if not np.isfinite(pairs).all() or (pairs < 0).any():
        raise ValueError('an affinity is negative or not finite; they must lie in [0, 1]')
    h, w = pairs.shape[1:]
    kept = inside(offsets, (h, w)) & (pairs > 0)
    p, y, x = np.nonzero(kept)
    here = (y * w + x).astype(np.int32)
    there = (here + offsets[p, 0] * w + offsets[p, 1]).astype(np.int32)
    upper = sparse.coo_array((pairs[kept], (here, there)), shape=(h * w, h * w)).tocsr()
    return (upper + upper.T + sparse.eye_array(h * w, dtype=np.float32)).tocsr()


def transition_matrix(affinity: sparse.csr_array, beta: float = 8.0) -> sparse.csr_array:
    r""":math:`T_{ij} = a_{ij}^\beta / \sum_k a_{kj}^\beta`: columns sum to one, as in the released walks.

    Args:
        affinity: (N, N) from :func:`sparse_affinity`.
        beta: sharpens: 8 for AffinityNet, 10 for IRN.

    Returns:
        (N, N) float32 CSR.

    >>> affinity = sparse_affinity(np.array([[[1 / 3, 0.0]]]), offsets=np.array([[0, 1]]))
    >>> transition_matrix(affinity, beta=1.0).toarray().round(4).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    powered = affinity.astype(np.float32).power(beta)
    columns = np.asarray(powered.sum(axis=0)).ravel()
    return (powered @ sparse.diags_array(1 / columns)).tocsr().astype(np.float32)


@jit(nogil=True, fastmath={'contract', 'reassoc', 'nsz'})
def _step(start: I32, column: I32, value: F32, x: F32, out: F32) -> None:
    """out = the product of a CSR matrix with the block x, summed in a local array so that it runs in vectors.

    Args:
        start: (N + 1,) where each row's entries begin.
        column: (nnz,) their columns.
        value: (nnz,) the entries.
        x: (N, K), all classes of a location together: one pass over the matrix serves them all.
        out: (N, K) out, another array than x.
    """
    width = x.shape[1]
    total = np.empty(width, np.float32)
    for i in range(len(start) - 1):
        total[:] = 0
        for k in range(start[i], start[i + 1]):
            share, j = value[k], column[k]
            for c in range(width):
                total[c] += share * x[j, c]
        for c in range(width):
            out[i, c] = total[c]


def random_walk(
    maps: np.ndarray, transition: sparse.csr_array, log_steps: int = 8, device: str | torch.device | None = None
) -> np.ndarray:
    r"""Walk :math:`2^n` steps, :math:`x\,T^{2^n}`, every class at once.

    Args:
        maps: (K, H, W) class maps.
        transition: (H·W, H·W) from :func:`transition_matrix`.
        log_steps: n; 8 in the released walks, that is 256 steps.
        device: a torch device, where torch's sparse product does the steps; None for numba on one core.

    Returns:
        (K, H, W) float32.

    Raises:
        ValueError: if the maps have another number of locations than the matrix.

    >>> transition = transition_matrix(sparse_affinity(np.array([[[1 / 3, 0.0]]]), np.array([[0, 1]])), beta=1.0)
    >>> random_walk(np.array([[[1.0, 0.0]]]), transition, log_steps=0).round(4).tolist()  # one step
    [[[0.75, 0.25]]]
    """
    maps = np.asarray(maps, np.float32)
    nodes = maps[0].size if maps.ndim == 3 and len(maps) else 0
    if nodes != transition.shape[0]:
        raise ValueError(f'maps of shape {maps.shape} do not fit a walk of {transition.shape[0]} locations')
    # x T as a row vector is Tᵗ x as a column.
    matrix = transition.T.tocsr()
    x = np.ascontiguousarray(maps.reshape(len(maps), -1).T)
    if device is None:
        out, spare = x, np.empty_like(x)
        for _ in range(2**log_steps):
            _step(matrix.indptr, matrix.indices, matrix.data, out, spare)
            out, spare = spare, out
    else:
        parts = torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices), torch.from_numpy(matrix.data)
        moving = torch.sparse_csr_tensor(*parts, size=matrix.shape, check_invariants=False).to(device)
        state = torch.from_numpy(x).to(device)
        for _ in range(2**log_steps):
            state = moving @ state
        out = state.cpu().numpy()
    return np.ascontiguousarray(out.T).reshape(maps.shape)
