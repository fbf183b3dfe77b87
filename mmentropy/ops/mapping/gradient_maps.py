# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Class maps from a feature map and the gradient of the class scores with respect to it.

Notation: features :math:`f \in R^{N \times D \times h \times w}`, gradients
:math:`g_{n,k} = \partial y_{n,c_k} / \partial f_n`, (N, K, D, h, w) for K classes. A gradient that is the same at every
location, as behind global average pooling, may be given as (N, K, D, 1, 1): nothing of size h·w is then built.
All results are raw (N, K, h, w) maps in the type of the features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_pool_gradients(weight: Tensor, num_locations: int) -> Tensor:
    r"""The gradient behind global average pooling and a linear layer, :math:`g_c = W_c / (h w)` at every location.

    Args:
        weight: (N, K, D) rows of the classifier, for the classes asked for.
        num_locations: h·w.

    Returns:
        (N, K, D, 1, 1).

    >>> mean_pool_gradients(torch.tensor([[[2.0, 4.0]]]), num_locations=4).flatten()
    tensor([0.5000, 1.0000])
    """
    return (weight / num_locations)[..., None, None]


def _check(features: Tensor, gradients: Tensor) -> None:
    fits = gradients.ndim == 5 and gradients.shape[0] == len(features) and gradients.shape[2] == features.shape[1]
    if not fits or gradients.shape[3:] not in (features.shape[2:], (1, 1)):
        raise ValueError(
            f'gradients must be (N, K, D, h, w) or (N, K, D, 1, 1) for features {tuple(features.shape)}, '
            f'got {tuple(gradients.shape)}'
        )


def channel_maps(features: Tensor, channel_weights: Tensor) -> Tensor:
    r"""ReLU of a weighted sum of channels, :math:`\mathrm{ReLU}(\sum_d \alpha_{k,d} f_d)`.

    Args:
        features: (N, D, h, w).
        channel_weights: (N, K, D).

    >>> channel_maps(torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]]), torch.tensor([[[2.0, -1.0]]]))
    tensor([[[[2., 0.]]]])
    """
    maps = torch.bmm(channel_weights, features.flatten(2)).clamp_(min=0)
    return maps.view(*channel_weights.shape[:2], *features.shape[2:])


def grad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    r"""Grad-CAM (Selvaraju et al., ICCV 2017): :math:`\alpha_d = \frac{1}{hw} \sum_{ij} g_{d,ij}`.

    >>> grad_cam(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[[4.0, 0.0]]]]]))  # α = 2
    tensor([[[[2., 6.]]]])
    """
    _check(features, gradients)
    return channel_maps(features, gradients.mean((3, 4)))


def grad_cam_plus_plus(features: Tensor, gradients: Tensor, eps: float = 1e-12) -> Tensor:
    r"""Grad-CAM++ (Chattopadhay et al., WACV 2018).

    .. math:: \alpha_d = \sum_{ij} \frac{g_{ij}^2}{2 g_{ij}^2 + g_{ij}^3 \sum_{ab} f_{ab}} \mathrm{ReLU}(g_{ij})
        \quad\text{(all of channel } d\text{)}

    which is the paper's weight for the score :math:`\exp(y)`, whose higher derivatives are powers of the first.

    Args:
        features, gradients: see the module.
        eps: added to the denominator. Gradients behind average pooling are small (their squares 1e-7 and less), so it
            is far below them; the paper has none.

    >>> grad_cam_plus_plus(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[[4.0, 0.0]]]]]))  # α = 2/9
    tensor([[[[0.2222, 0.6667]]]])
    """
    _check(features, gradients)
    total = features.sum((2, 3))[:, None, :, None, None]
    squared = gradients * gradients
    share = squared / (2 * squared + total * squared * gradients + eps)
    # Where the gradient vanishes so does the weight; a denominator of 0 there (eps = 0) must not make it NaN.
    weights = torch.where(gradients > 0, share * gradients, 0.0)
    return channel_maps(features, weights.mean((3, 4)) * features[0, 0].numel())


def xgrad_cam(features: Tensor, gradients: Tensor, eps: float = 1e-7) -> Tensor:
    r"""XGrad-CAM (Fu et al., BMVC 2020): :math:`\alpha_d = \sum_{ij} g_{d,ij} f_{d,ij} / \sum_{ij} f_{d,ij}`.

    >>> xgrad_cam(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[[4.0, 0.0]]]]]), eps=0.0)  # α = 1
    tensor([[[[1., 3.]]]])
    """
    _check(features, gradients)
    total = features.sum((2, 3))[:, None]
    if gradients.shape[3:] == (1, 1):
        summed = gradients[..., 0, 0] * total
    else:
        summed = torch.einsum('nkdij,ndij->nkd', gradients, features)
    return channel_maps(features, summed / (total + eps))


def layer_cam(features: Tensor, gradients: Tensor) -> Tensor:
    r"""LayerCAM (Jiang et al., TIP 2021): :math:`\mathrm{ReLU}(\sum_d \mathrm{ReLU}(g_{d,ij}) f_{d,ij})`.

    >>> layer_cam(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[[4.0, 0.0]]]]]))
    tensor([[[[4., 0.]]]])
    """
    _check(features, gradients)
    positive = gradients.clamp(min=0)
    if gradients.shape[3:] == (1, 1):
        return channel_maps(features, positive[..., 0, 0])
    return torch.einsum('nkdij,ndij->nkij', positive, features).clamp_(min=0)


def hires_cam(features: Tensor, gradients: Tensor) -> Tensor:
    r"""HiResCAM (Draelos and Carin, 2020, arXiv 2011.08891): :math:`\mathrm{ReLU}(\sum_d g_{d,ij} f_{d,ij})`.

    What each location adds to the score, where the rest of the network is linear. Behind global average pooling it is
    Grad-CAM.

    >>> hires_cam(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[[4.0, -1.0]]]]]))
    tensor([[[[4., 0.]]]])
    """
    _check(features, gradients)
    if gradients.shape[3:] == (1, 1):
        return channel_maps(features, gradients[..., 0, 0])
    return torch.einsum('nkdij,ndij->nkij', gradients, features).clamp_(min=0)


def bag_cams(features: Tensor, gradients: Tensor) -> Tensor:
    r"""BagCAMs (Zhu et al., ECCV 2022, arXiv 2207.07818): the gradient at every location is a localizer of its own.

    .. math:: M_{ij} = \sum_d \mathrm{ReLU}\big((1 + \tfrac{1}{hw} \sum_{ab} g_{d,ab} f_{d,ab})\, g_{d,ij} f_{d,ij}\big)

    with g the gradient of the log-probability of the class, so that all localizers are weighted by that probability:
    the form in which the authors release it.

    >>> bag_cams(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[[4.0, -1.0]]]]]))  # 1 + (4 - 3) / 2 = 1.5
    tensor([[[[6., 0.]]]])
    """
    _check(features, gradients)
    if gradients.shape[3:] == (1, 1):
        slopes = gradients[..., 0, 0]
        slopes = (1 + slopes * features.mean((2, 3))[:, None]) * slopes
        # ReLU(a f) is ReLU(a) ReLU(f) + ReLU(-a) ReLU(-f): nothing of size K·D·h·w is built.
        maps = channel_maps(features.clamp(min=0), slopes.clamp(min=0))
        return maps + channel_maps((-features).clamp(min=0), (-slopes).clamp(min=0))
    answers = gradients * features[:, None]
    return (answers * (1 + answers.mean((3, 4), keepdim=True))).clamp_(min=0).sum(2)


def channel_masks(features: Tensor, size: tuple[int, int], align_corners: bool = False, eps: float = 1e-8) -> Tensor:
    """Every channel up-sampled (bilinear) to the image and min-max normalised: Score-CAM's masks.

    Args:
        features: (D, h, w) of one image.
        size: (height, width) in pixels.
        align_corners: see ``torch.nn.functional.interpolate``.
        eps: added to the range; a constant channel gives zeros.

    Returns:
        (D, height, width) in [0, 1].

    >>> channel_masks(torch.tensor([[[2.0, 4.0]]]), size=(1, 4))
    tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    masks = F.interpolate(features[None], size=size, mode='bilinear', align_corners=align_corners)[0]
    low, high = masks.amin((1, 2), keepdim=True), masks.amax((1, 2), keepdim=True)
    return (masks - low) / (high - low + eps)


def score_cam(features: Tensor, scores: Tensor) -> Tensor:
    r"""Score-CAM (Wang et al., CVPR-W 2020): :math:`\alpha_d = \mathrm{softmax}_d(y_c(x \odot m_d))`.

    The score of a baseline image, which the paper subtracts, is the same for all channels: the softmax removes it.

    Args:
        features: (N, D, h, w).
        scores: (N, K, D) score of class k for the image seen through channel d's mask.

    >>> features = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    >>> score_cam(features, scores=torch.tensor([[[3.0, 1.0]]]).log())
    tensor([[[[0.7500, 0.2500]]]])
    """
    return channel_maps(features, scores.softmax(-1).to(features.dtype))
