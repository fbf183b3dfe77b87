# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Second-order pooling: the covariance of the features over the locations, and the square root of it."""

from __future__ import annotations

import torch
from torch import Tensor


def covariance(features: Tensor) -> Tensor:
    r"""Covariance over the locations, :math:`\Sigma = \frac1n \sum_i (f_i - \bar f)(f_i - \bar f)^\top`.

    Args:
        features: (B, D, H, W).

    Returns:
        (B, D, D), symmetric and positive semi-definite, at least float32.

    >>> covariance(torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]]))
    tensor([[[1., 2.],
             [2., 4.]]])
    """
    x = features.flatten(2)
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    x = x - x.mean(2, keepdim=True)
    return x @ x.transpose(1, 2) / x.shape[2]


def matrix_square_root(matrices: Tensor, iterations: int = 5, eps: float = 1e-5) -> Tensor:
    r"""Square root of symmetric positive semi-definite matrices by Newton and Schulz, with matrix products alone.

    With :math:`A = \Sigma / \mathrm{tr}\,\Sigma`, :math:`Y_0 = A`, :math:`Z_0 = I`,

    .. math:: T = \tfrac12 (3I - Z_k Y_k), \quad Y_{k+1} = Y_k T, \quad Z_{k+1} = T Z_k, \qquad
       \Sigma^{1/2} \approx \sqrt{\mathrm{tr}\,\Sigma}\; Y_K .

    Gradients pass through the products, so no decomposition with its unstable derivative is needed.

    Args:
        matrices: (..., D, D).
        iterations: K; 5 is the authors'. Small eigenvalues need more.
        eps: added to the trace, so that a zero matrix has a zero root.

    Returns:
        (..., D, D).

    Raises:
        ValueError: for matrices that are not square, or fewer than one iteration.

    Source:
        Li et al., "Towards faster training of global covariance pooling networks by iterative matrix square root
        normalization" (CVPR 2018).

    >>> matrix_square_root(torch.tensor([[4.0, 0.0], [0.0, 9.0]]), iterations=10)
    tensor([[2.0000, 0.0000],
            [0.0000, 3.0000]])
    """
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2]:
        raise ValueError(f'matrix_square_root takes square matrices (..., D, D), got {tuple(matrices.shape)}')
    if iterations < 1:
        raise ValueError(f'matrix_square_root needs at least one iteration, got {iterations}')
    trace = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] + eps
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    y, z = matrices / trace, identity.expand_as(matrices)
    for _ in range(iterations):
        t = (3 * identity - z @ y) / 2
        y, z = y @ t, t @ z
    return trace.sqrt() * y


def second_order_pool(features: Tensor, iterations: int = 5) -> Tensor:
    r"""The upper triangle of :math:`\Sigma^{1/2}`, the covariance of the features over the locations.

    Args:
        features: (B, D, H, W).
        iterations: of :func:`matrix_square_root`; 0 takes the covariance itself.

    Returns:
        (B, D (D + 1) / 2), row by row, at least float32.

    Source:
        Li et al., CVPR 2018 (see :func:`matrix_square_root`).

    >>> second_order_pool(torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]]), iterations=0)
    tensor([[1., 2., 4.]])
    """
    matrix = covariance(features)
    if iterations:
        matrix = matrix_square_root(matrix, iterations)
    rows, columns = torch.triu_indices(matrix.shape[1], matrix.shape[2], device=matrix.device)
    return matrix[:, rows, columns]
