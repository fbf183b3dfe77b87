# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""How a transformer's own attention joins the locations of its map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmentropy.ops.mapping.reading import attention_affinity

from .anatomy import declared_tokens
from .attending import AttentionRecorder
from .watching import frozen

#: Of so many blocks, from the last, the attention is averaged; early ones attend to what is near.
BLOCKS = 8
#: Steps of Sinkhorn's normalisation.
STEPS = 3


@torch.no_grad()
def patch_affinity(
    model: nn.Module, images: Tensor, size: tuple[int, int], blocks: int = BLOCKS, steps: int = STEPS
) -> Tensor:
    r"""The affinity of a map's locations by attention: the mean over heads and the last blocks, class tokens left out,
    made symmetric and doubly stochastic by :func:`~mmentropy.ops.mapping.reading.attention_affinity`.

    One forward pass of its own, in evaluation mode.

    Args:
        model: a vision transformer, or a model around one.
        images: (N, 3, H, W) network inputs.
        size: (h, w) of the map.
        blocks: how many of the last blocks count; all where there are fewer.
        steps: of Sinkhorn's normalisation.

    Returns:
        (N, h·w, h·w) float32, rows summing to one.

    Raises:
        ValueError: for a network without attention among these locations (a convolutional one, windows, a cache).

    >>> import torchvision
    >>> vit = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    >>> affinity = patch_affinity(vit, torch.rand(2, 3, 32, 32), (4, 4))
    >>> affinity.shape, torch.allclose(affinity.sum(2), torch.ones(2, 16), atol=1e-2)
    (torch.Size([2, 16, 16]), True)
    """
    recorder = AttentionRecorder()
    with frozen(model), recorder.watching(model):
        model(images)
    count, extra = size[0] * size[1], declared_tokens(model)
    among = [call.probabilities for call in recorder.calls if len(call.probabilities) == len(images)]
    among = [one.detach().mean(1) for one in among if one.shape[-1] in (count, count + extra)]
    if not among:
        raise ValueError(
            f'{type(model).__name__} has no attention among the {size[0]}×{size[1]} locations of its map to spread by; '
            "use affinity='features'"
        )
    mean = torch.stack([one[:, one.shape[1] - count :, one.shape[2] - count :] for one in among[-blocks:]]).mean(0)
    return attention_affinity(mean, steps)
