# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Maps from activations, without gradients: Eigen-CAM, Ablation-CAM; several layers at once; and controls.

Notation: features :math:`f \in R^{N \times D \times h \times w}`; all results are raw (N, K, h, w) maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .geometry import HALF_PIXEL, MapGrid
from .gradient_maps import channel_maps


def eigen_cam(features: Tensor) -> Tensor:
    r"""Eigen-CAM (Muhammad and Yeasin, IJCNN 2020): the locations' first principal component.

    With F the (h·w, D) matrix of an image's features, each channel's mean taken off, and :math:`F = U S V^T`, the map
    is :math:`F v_1 = s_1 u_1`, found from the smaller of the two Gram matrices. Its sign, which the decomposition
    leaves open, is that of its correlation with the mean activation of the locations.

    Args:
        features: (N, D, h, w).

    Returns:
        (N, 1, h, w), of any sign, mean zero; one map an image.

    >>> eigen_cam(torch.tensor([[[[0.0, 3.0]], [[0.0, 4.0]]]]))
    tensor([[[[-2.5000,  2.5000]]]])
    """
    centred = features.flatten(2).double().transpose(1, 2)  # (N, L, D)
    centred = centred - centred.mean(1, keepdim=True)
    _, length, channels = centred.shape
    if length <= channels:
        values, vectors = torch.linalg.eigh(centred @ centred.transpose(1, 2))
        maps = vectors[..., -1] * values[:, -1:].clamp(min=0).sqrt()
    else:
        maps = (centred @ torch.linalg.eigh(centred.transpose(1, 2) @ centred)[1][..., -1:])[..., 0]
    agrees = (maps * centred.sum(2)).sum(1, keepdim=True)
    maps = torch.where(agrees < 0, -maps, maps)
    return maps.to(features.dtype).view(len(features), 1, *features.shape[2:])


def ablation_cam(features: Tensor, scores: Tensor, ablated: Tensor) -> Tensor:
    r"""Ablation-CAM (Desai and Ramaswamy, WACV 2020): :math:`\alpha_d = (y - y_{\setminus d}) / y`.

    Args:
        features: (N, D, h, w).
        scores: (N, K) of the image as it is.
        ablated: (N, K, D), with channel d set to zero.

    Returns:
        (N, K, h, w); zeros where the score is 0, of which there is no share.

    >>> features = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    >>> ablation_cam(features, torch.tensor([[4.0]]), torch.tensor([[[1.0, 4.0]]]))
    tensor([[[[0.7500, 0.0000]]]])
    """
    share = (scores[..., None] - ablated) / scores[..., None]
    return channel_maps(features, torch.where(scores[..., None] == 0, 0.0, share).to(features.dtype))


def ablated_logits(features: Tensor, logits: Tensor, weight: Tensor) -> Tensor:
    r"""Logits without each channel, behind global average pooling and a linear layer: no pass is run.

    .. math:: z_{\setminus d} = z - W_{\cdot d}\, \frac{1}{hw} \sum_i f_{d,i}

    Args:
        features: (N, D, h, w), or some of the channels.
        logits: (N, C).
        weight: (C, D) of the linear layer, the same channels.

    Returns:
        (N, D, C).

    >>> ablated_logits(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[5.0]]), torch.tensor([[2.0]]))
    tensor([[[1.]]])
    """
    return logits[:, None] - features.mean((2, 3))[..., None] * weight.T


def refine_maps(maps: Sequence[Tensor], combine: str = 'product') -> Tensor:
    r"""RefineCAM's fusion (arXiv 2605.14641): the product, or the mean, of several layers' maps.

    A shallow layer's fine map is kept where the deep ones, which tell the class, are high.

    Args:
        maps: (N, K, h, w) in [0, 1] of each layer (:func:`scale_maps`), brought to one size.
        combine: ``product``, or ``mean``.

    Returns:
        (N, K, h, w) in [0, 1].

    Raises:
        ValueError: for no maps, maps of several sizes, or another ``combine``.

    >>> refine_maps([torch.tensor([[[[0.0, 0.5, 1.0]]]]), torch.tensor([[[[1.0, 1.0, 0.5]]]])])
    tensor([[[[0.0000, 0.5000, 0.5000]]]])
    """
    if combine not in ('product', 'mean'):
        raise ValueError(f"combine must be 'product' or 'mean', got {combine!r}")
    if not maps or len({one.shape for one in maps}) > 1:
        raise ValueError(f'maps of several layers must have one shape, got {[tuple(one.shape) for one in maps]}')
    layers = torch.stack(list(maps))
    return layers.prod(0) if combine == 'product' else layers.mean(0)


def scale_maps(maps: Tensor, eps: float = 1e-8) -> Tensor:
    r"""Each map to [0, 1]: :math:`(m - \min m) / (\max m - \min m + \varepsilon)`.

    >>> scale_maps(torch.tensor([[[[1.0, 2.0, 3.0]]]]))
    tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low + eps)


def center_map(map_size: tuple[int, int], size: tuple[int, int], grid: MapGrid | None = HALF_PIXEL) -> Tensor:
    r"""A control that sees nothing: a bump in the middle of the image, :math:`e^{-(\Delta y^2 + \Delta x^2) / 2}`.

    :math:`\Delta` is the distance from the middle of the image to the place where a location looks, in quarters of the
    image's side.

    Args:
        map_size: (h, w).
        size: (height, width) of the image.
        grid: where the locations look; None for half-pixel.

    Returns:
        (h, w) float32, 1 in the middle of the image.

    >>> center_map((1, 4), (1, 8)).round(decimals=3)
    tensor([[0.3250, 0.8820, 0.8820, 0.3250]])
    """
    placed = MapGrid.half_pixel(map_size, size) if grid is None else grid.before_resize(size)
    bump = torch.ones(())
    for axis, side in enumerate(size):
        place = torch.arange(map_size[axis]) * placed.step[axis] + placed.start[axis]
        along = torch.exp(-(((place - (side - 1) / 2) / (side / 4)) ** 2) / 2)
        bump = bump[..., None] * along
    return bump.float()


def random_map(image: Tensor, map_size: tuple[int, int]) -> Tensor:
    """A control that knows nothing: uniform noise. The same image has the same noise, in any batch and process.

    Args:
        image: (3, H, W), whose values seed the noise.
        map_size: (h, w).

    Returns:
        (h, w) float32 in [0, 1), on the CPU.

    >>> image = torch.rand(3, 8, 8)
    >>> torch.equal(random_map(image, (2, 2)), random_map(image.clone(), (2, 2)))
    True
    """
    values = image.detach().double().cpu().flatten()
    seed = int((values * torch.arange(1, values.numel() + 1, dtype=torch.float64).cos()).sum().abs() * 1e6) % (1 << 31)
    return torch.rand(map_size, generator=torch.Generator().manual_seed(seed))
