# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Maps from the attention of a vision transformer: rollout, gradient times attention, LeGrad.

Notation: L blocks, attention probabilities :math:`A^l \in R^{N \times heads \times n \times n}` of n tokens (rows ask,
columns are read), the first ``extra_tokens`` of them class tokens and registers. All results are (N, n − extra) or
(N, K, n − extra): one value a patch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def _check(attention: Sequence[Tensor]) -> None:
    if not attention:
        raise ValueError('attention of at least one block is needed, got none')
    for block in attention:
        if block.ndim < 4 or block.shape[-1] != block.shape[-2]:
            raise ValueError(f'attention must be (N, heads, n, n), got {tuple(block.shape)}')


def read_patches(mixing: Tensor, extra_tokens: int) -> Tensor:
    """What the class token reads of each patch; without a class token the mean over the tokens.

    Args:
        mixing: (..., n, n), rows ask.
        extra_tokens: tokens before the patches, the class token first.

    Returns:
        (..., n − extra_tokens).

    >>> read_patches(torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), extra_tokens=1)
    tensor([0.2500, 0.2500])
    """
    row = mixing[..., 0, :] if extra_tokens else mixing.mean(-2)
    return row[..., extra_tokens:]


def attention_rollout(attention: Sequence[Tensor], extra_tokens: int = 1) -> Tensor:
    r"""Attention rollout (Abnar and Zuidema, ACL 2020): how information flows from patches to the class token.

    .. math:: R = \hat A^L \cdots \hat A^1, \qquad \hat A^l = \tfrac12 (\bar A^l + I)

    with :math:`\bar A^l` the mean over heads and *I* the residual connection; rows sum to one. No class is in it.

    Args:
        attention: (N, heads, n, n) of each block, first block first.
        extra_tokens: tokens before the patches.

    Returns:
        (N, n − extra_tokens), non-negative.

    Raises:
        ValueError: for attention of another shape.

    >>> mixing = torch.tensor([[[[0.2, 0.8], [0.0, 1.0]]]])  # a class token and a patch
    >>> attention_rollout([mixing, mixing])
    tensor([[0.6400]])
    """
    _check(attention)
    rolled = torch.eye(attention[0].shape[-1], device=attention[0].device)
    for block in attention:
        mixing = block.float().mean(1)
        mixing = (mixing + torch.eye(mixing.shape[-1], device=mixing.device)) / 2
        rolled = mixing / mixing.sum(-1, keepdim=True) @ rolled
    return read_patches(rolled, extra_tokens)


def gradient_attention(attention: Sequence[Tensor], gradients: Sequence[Tensor], extra_tokens: int = 1) -> Tensor:
    r"""Gradient times attention, rolled out (Chefer et al., ICCV 2021, the rule of self-attention).

    .. math:: R \leftarrow R + \bar A^l R, \qquad \bar A^l = \frac{1}{heads} \sum_{heads} (g^l \odot A^l)^+

    from the first block to the last, R = I before; :math:`g^l = \partial s_c / \partial A^l`.

    Args:
        attention: (N, heads, n, n) of each block, first block first.
        gradients: (N, K, heads, n, n) likewise, for K scores.
        extra_tokens: tokens before the patches.

    Returns:
        (N, K, n − extra_tokens), non-negative.

    Raises:
        ValueError: for attention of another shape.

    >>> mixing = torch.tensor([[[[0.2, 0.8], [0.0, 1.0]]]])
    >>> gradient_attention([mixing], [torch.full((1, 1, 1, 2, 2), 0.5)])
    tensor([[[0.4000]]])
    """
    _check(attention)
    rolled = torch.eye(attention[0].shape[-1]).to(attention[0])
    for block, slope in zip(attention, gradients):
        rolled = rolled + (slope * block[:, None]).clamp(min=0).mean(2) @ rolled
    return read_patches(rolled, extra_tokens)


def legrad(gradients: Sequence[Tensor], extra_tokens: int = 1) -> Tensor:
    r"""LeGrad (Bousselham et al., ICCV 2025, arXiv 2404.03214): what each block's score gains by attending to a patch.

    .. math:: m_j = \frac1L \sum_l \frac{1}{heads \cdot n} \sum_{heads} \sum_i
        \Big(\frac{\partial s^l_c}{\partial A^l_{ij}}\Big)^+

    with :math:`s^l` the class score that the tokens behind block l have.

    Args:
        gradients: (N, K, heads, n, n) of each block's own score by that block's attention.
        extra_tokens: tokens before the patches.

    Returns:
        (N, K, n − extra_tokens), non-negative.

    Raises:
        ValueError: for gradients of another shape.

    >>> legrad([torch.tensor([[[[[0.0, 2.0], [0.0, -4.0]]]]])])
    tensor([[[1.]]])
    """
    _check(gradients)
    total = torch.stack([slope.clamp(min=0).mean((2, 3)) for slope in gradients]).mean(0)
    return total[..., extra_tokens:]
