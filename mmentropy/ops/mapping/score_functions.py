# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Which number of a network's output a map explains: a class's logit, its probability, or a difference.

Notation: logits z, (B, C) of a classifier or (B, C, h, w) of a segmentor; a table of classes, (B, K). A named function
(:data:`SCORE_FUNCTIONS`) takes both and gives (B, K), or (B, K, h, w) of a segmentor, location by location. A *target*
takes logits alone and gives (B,), (B, K), or with two more axes the like of a segmentor: :func:`difference` makes one,
and any function written by hand is one. All let gradients through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

#: Neighbours that a class is told from by :func:`finer_scores`.
REFERENCES = 3


def _pick(values: Tensor, table: Tensor) -> Tensor:
    """(B, K, ...) columns of (B, C, ...)."""
    index = table.view(*table.shape, *[1] * (values.ndim - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)


def logit(logits: Tensor, table: Tensor) -> Tensor:
    """The class's logit, :math:`z_c`: what most map methods explain.

    >>> logit(torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[2, 0]]))
    tensor([[4., 1.]])
    """
    return _pick(logits, table)


def probability(logits: Tensor, table: Tensor) -> Tensor:
    r"""The softmax probability, :math:`p_c = e^{z_c} / \sum_k e^{z_k}`.

    >>> probability(torch.tensor([[0.0, 0.0]]), torch.tensor([[1]]))
    tensor([[0.5000]])
    """
    return _pick(logits.softmax(1), table)


def log_probability(logits: Tensor, table: Tensor) -> Tensor:
    r""":math:`\log p_c = z_c - \log \sum_k e^{z_k}`, in nats: minus the cross-entropy of class c.

    >>> log_probability(torch.tensor([[0.0, 0.0]]), torch.tensor([[1]]))
    tensor([[-0.6931]])
    """
    return _pick(logits.log_softmax(1), table)


def sigmoid(logits: Tensor, table: Tensor) -> Tensor:
    r"""The probability of a multi-label model, :math:`\sigma(z_c)`, each class by itself.

    >>> sigmoid(torch.tensor([[0.0, 9.0]]), torch.tensor([[0]]))
    tensor([[0.5000]])
    """
    return _pick(logits, table).sigmoid()


def log_sigmoid(logits: Tensor, table: Tensor) -> Tensor:
    r""":math:`\log \sigma(z_c)`, in nats: what :func:`log_probability` is to a softmax, of a multi-label model.

    >>> log_sigmoid(torch.tensor([[0.0, 9.0]]), torch.tensor([[0]]))
    tensor([[-0.6931]])
    """
    return torch.nn.functional.logsigmoid(_pick(logits, table))


def margin(logits: Tensor, table: Tensor) -> Tensor:
    r"""The class's logit above the largest other one, :math:`z_c - \max_{k \neq c} z_k`.

    Raises:
        ValueError: for a single class, which has no other.

    >>> margin(torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[2, 0]]))
    tensor([[ 2., -3.]])
    """
    if logits.shape[1] < 2:
        raise ValueError('the margin is that to another class, and the model has one class only; explain its logit')
    best, second = logits.topk(2, dim=1).values.unbind(1)
    own = _pick(logits, table)
    # The largest other is the second best for the best class, and the best for all others.
    winner = table.view(*table.shape, *[1] * (logits.ndim - 2)) == logits.argmax(1, keepdim=True)
    return own - torch.where(winner, second[:, None], best[:, None])


#: What a class may be explained by, by name; (logits, table) -> scores.
SCORE_FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'logit': logit,
    'probability': probability,
    'log_probability': log_probability,
    'sigmoid': sigmoid,
    'log_sigmoid': log_sigmoid,
    'margin': margin,
}


def difference(wanted: int, against: int | Sequence[int]) -> Callable[[Tensor], Tensor]:
    """A target: one class's logit less that of another, or less the mean of several.

    Args:
        wanted: the class.
        against: the class, or classes, that it is told from.

    Returns:
        a function from logits (B, C) to (B,), of a segmentor from (B, C, h, w) to (B, h, w).

    >>> difference(2, against=[0, 1])(torch.tensor([[1.0, 2.0, 4.0]]))
    tensor([2.5000])
    """
    others = [against] if isinstance(against, int) else list(against)

    def score(logits: Tensor) -> Tensor:
        return logits[:, wanted] - logits[:, others].mean(1)

    score.__name__ = f'{wanted} - {"/".join(map(str, others))}'
    return score


def similar_classes(logits: Tensor, table: Tensor, count: int = REFERENCES) -> Tensor:
    r"""The classes whose logits are nearest to that of a class, :math:`\arg\min_{k \neq c} |z_k - z_c|`.

    Args:
        logits: (B, C).
        table: (B, K) classes.
        count: how many; at most C − 1 are there.

    Returns:
        (B, K, min(count, C − 1)) long, nearest first.

    Raises:
        ValueError: for a single class, which has no other.

    >>> similar_classes(torch.tensor([[1.0, 2.0, 4.0, 9.0]]), torch.tensor([[2]]), count=2)
    tensor([[[1, 0]]])
    """
    if logits.shape[1] < 2:
        raise ValueError('a class is told from similar ones, and the model has one class only')
    distance = (logits[:, None] - logits.gather(1, table)[..., None]).abs().detach()
    distance = distance.scatter(2, table[..., None], float('inf'))
    return distance.topk(min(count, logits.shape[1] - 1), dim=2, largest=False, sorted=True).indices


def finer_scores(
    logits: Tensor, table: Tensor, gamma: float = 0.6, references: int | Tensor = REFERENCES, by: str = 'mean'
) -> Tensor:
    r"""Finer-CAM's score (Zhang et al., CVPR 2025, arXiv 2501.11309): a class less what similar classes share with it.

    .. math:: s_c = z_c - \gamma \sum_t a_t z_{d_t}, \qquad a_t = 1/T \text{ or } p_{d_t} / \sum_u p_{d_u}

    Args:
        logits: (B, C).
        table: (B, K) classes.
        gamma: how much of the others is taken off.
        references: how many similar classes (:func:`similar_classes`), or (B, K, T) long, which.
        by: the weights a: ``mean``, or ``probability``, as the authors' code and the grad-cam package have it.

    Returns:
        (B, K).

    Raises:
        ValueError: for other weights.

    >>> finer_scores(torch.tensor([[1.0, 2.0, 4.0, 9.0]]), torch.tensor([[2]]), gamma=1.0, references=2)
    tensor([[2.5000]])
    """
    if by not in ('mean', 'probability'):
        raise ValueError(f"by must be 'mean' or 'probability', got {by!r}")
    if isinstance(references, int):
        references = similar_classes(logits, table, references)
    flat = references.flatten(1)
    others = logits.gather(1, flat).view_as(references)
    own = logits.gather(1, table)
    if by == 'mean':
        return own - gamma * others.mean(2)
    weights = logits.softmax(1).gather(1, flat).view_as(references)
    return (weights * (own[..., None] - gamma * others)).sum(2) / (weights.sum(2) + 1e-9)


def region_mean(values: Tensor, weights: Tensor) -> Tensor:
    r"""Mean over a region, :math:`\sum_i m_i v_i / \sum_i m_i`; an empty region gives 0.

    Args:
        values: (B, K, h, w).
        weights: (B, 1, h, w) or (B, K, h, w), 0 outside the region.

    Returns:
        (B, K).

    >>> region_mean(torch.tensor([[[[1.0, 3.0, 9.0]]]]), torch.tensor([[[[1.0, 1.0, 0.0]]]]))
    tensor([[2.]])
    """
    return (values * weights).sum((2, 3)) / weights.sum((2, 3)).clamp(min=torch.finfo(values.dtype).tiny)


def box_mask(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes as masks: 1 for the pixels whose centre is inside.

    Args:
        boxes: (B, 4), x0 y0 x1 y1 in pixels, x1 and y1 the border behind the last one.
        size: (height, width).

    Returns:
        (B, height, width) float32.

    Raises:
        ValueError: for a box without a pixel of the image.

    >>> box_mask(torch.tensor([[1.0, 0.0, 3.0, 1.0]]), (2, 4)).tolist()
    [[[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]
    """
    height, width = size
    y, x = (torch.arange(n, device=boxes.device) + 0.5 for n in size)
    x0, y0, x1, y1 = boxes.float().T[..., None]
    masks = ((y > y0) & (y < y1))[:, :, None] & ((x > x0) & (x < x1))[:, None]
    for box, mask in zip(boxes.tolist(), masks):
        if not mask.any():
            raise ValueError(f'the box {tuple(box)} holds no pixel of an image of {height}x{width} (x0, y0, x1, y1)')
    return masks.float()
