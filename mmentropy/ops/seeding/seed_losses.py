# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What teaches a segmenter from seeds: the balanced seed cost of DSRG, and SEC's divergence to a CRF's marginals."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def one_hot_cues(label: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Class maps as cues: a location without a class has none.

    Args:
        label: (B, H, W) classes, ``ignore_index`` where there is none.
        num_classes: C, with background.
        ignore_index: see ``label``.

    Returns:
        (B, C, H, W) float32 in {0, 1}, at most one a location.

    >>> import torch
    >>> one_hot_cues(torch.tensor([[[0, 1, 255]]]), 2)[0, :, 0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    sure = label != ignore_index
    return F.one_hot(label.long().where(sure, 0), num_classes).permute(0, 3, 1, 2) * sure[:, None].float()


def balanced_seed_cost(logits: Tensor, cues: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Cross-entropy at the cues, objects and background normalised apart, so that neither drowns the other:

    .. math:: -\frac{1}{|S_{fg}|} \sum_{c > 0} \sum_{u \in S_c} \log p_{u,c}
              - \frac{1}{|S_{bg}|} \sum_{u \in S_0} \log p_{u,0};

    a part without a cue is zero. Locations without a cue cost nothing.

    Args:
        logits: (B, C, H, W), channel 0 the background.
        cues: (B, C, H, W) in {0, 1}.
        weight: (B, H, W) factors of the locations' costs; they do not change the counts :math:`|S|`.

    Returns:
        (B,) in nats, at least float32.

    Raises:
        ValueError: if logits and cues differ in shape.

    Source:
        Huang et al., "Weakly-supervised semantic segmentation network with deep seeded region growing" (CVPR 2018).

    >>> import torch
    >>> balanced_seed_cost(torch.zeros(1, 4, 2, 2), one_hot_cues(torch.tensor([[[0, 0], [3, 255]]]), 4))
    tensor([2.7726])
    """
    if cues.shape != logits.shape:
        raise ValueError(f'seeds {tuple(cues.shape)} and logits {tuple(logits.shape)} must have one shape')
    cost = -(cues * logits.float().log_softmax(dim=1))
    if weight is not None:
        cost = cost * weight[:, None]
    cost, count = cost.sum(dim=(2, 3)), cues.sum(dim=(2, 3))
    objects = cost[:, 1:].sum(dim=1) / count[:, 1:].sum(dim=1).clamp(min=1)
    background = cost[:, 0] / count[:, 0].clamp(min=1)
    return objects + background


def boundary_divergence(logits: Tensor, marginals: Tensor) -> Tensor:
    r"""How far the prediction is from the CRF's at each location, with :math:`0 \log 0 = 0`:

    .. math:: KL(q_u \| p_u) = \sum_c q_{u,c} \log\frac{q_{u,c}}{p_{u,c}}

    Its gradient with respect to the logits is p − q where q sums to one.

    Args:
        logits: (B, C, H, W) of p.
        marginals: (B, C, H, W) q, a constant for the gradient; a location whose marginals are all zero costs nothing.

    Returns:
        (B, H, W) in nats, at least float32.

    Raises:
        ValueError: if logits and marginals differ in shape.

    Source:
        Kolesnikov and Lampert, "Seed, expand and constrain" (ECCV 2016).

    >>> import torch
    >>> boundary_divergence(torch.zeros(1, 2, 1, 2), torch.tensor([[[[1.0, 0.5]], [[0.0, 0.5]]]]))
    tensor([[[0.6931, 0.0000]]])
    """
    if marginals.shape != logits.shape:
        raise ValueError(f'marginals {tuple(marginals.shape)} and logits {tuple(logits.shape)} must have one shape')
    q = marginals.detach()
    return (q.xlogy(q) - q * logits.float().log_softmax(dim=1)).sum(dim=1)
