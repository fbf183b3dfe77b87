# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps at the pixels of the input, from the gradient of a score by the image."""

from __future__ import annotations

import torch
from torch import Tensor


def input_gradient(gradients: Tensor, images: Tensor | None = None) -> Tensor:
    r"""How much a score changes with a pixel: :math:`\max_c |\partial s / \partial x_c|` over the colours.

    With the images it is input times gradient, :math:`|\sum_c x_c\, \partial s / \partial x_c|`.

    Args:
        gradients: (N, K, 3, H, W).
        images: (N, 3, H, W), to multiply by; None takes the gradient alone.

    Returns:
        (N, K, H, W), non-negative.

    Source: Simonyan et al., "Deep inside convolutional networks" (ICLR workshop 2014); input times gradient after
    Shrikumar et al. (arXiv 1605.01713).

    >>> gradients = torch.tensor([[[[[1.0]], [[-3.0]], [[2.0]]]]])
    >>> input_gradient(gradients), input_gradient(gradients, torch.ones(1, 3, 1, 1))
    (tensor([[[[3.]]]]), tensor([[[[0.]]]]))
    """
    if images is None:
        return gradients.abs().amax(2)
    return (gradients * images[:, None]).sum(2).abs()


def noise_like(image: Tensor, count: int, share: float, seed: int = 0) -> Tensor:
    r"""Noise for an image: normal, with standard deviation :math:`share \cdot (\max x - \min x)`.

    Args:
        image: (3, H, W).
        count: how many.
        share: of the image's range.
        seed: the same one gives the same noise, for any image, in any batch.

    Returns:
        (count, 3, H, W) on the device of the image.

    >>> noise = noise_like(torch.tensor([0.0, 10.0]).expand(3, 1, 2), count=1000, share=0.1)
    >>> noise.shape, bool((noise.std() - 1).abs() < 0.05)
    (torch.Size([1000, 3, 1, 2]), True)
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, *image.shape, generator=generator).to(image)
    return noise * (share * (image.max() - image.min()))
