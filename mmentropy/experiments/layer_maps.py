# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What each layer of a network shows of an image: the mean of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from mmentropy.engine.model_loading import LoadedModel
from mmentropy.explain.watching import frozen, hooked, last_tensor, run
from mmentropy.models.erasing.feature_eraser import find_layers
from mmentropy.ops.erasing.feature_erasing import self_attention


def layer_maps(loaded: LoadedModel, image: np.ndarray, layers: Sequence[str] = ()) -> dict[str, np.ndarray]:
    r"""The mean over the channels of each layer's map, :math:`A_l(i) = \frac1D \sum_d f_{l,d}(i)`, in forward order.

    Args:
        loaded: the network.
        image: (H, W, 3) uint8, RGB.
        layers: names of modules of the backbone (of the model itself where it has none); empty takes its direct
            children that give maps.

    Returns:
        name -> (h, w).

    Raises:
        ValueError: for a layer that is not there, or when none gives a map.
    """
    backbone = getattr(loaded.model, 'backbone', loaded.model)
    chosen = find_layers(backbone, layers, 'layer_maps') if layers else dict(backbone.named_children())
    found: dict[str, np.ndarray] = {}
    handles = [layer.register_forward_hook(partial(_keep, found, name)) for name, layer in chosen.items()]
    with hooked(handles), frozen(loaded.model), torch.no_grad():
        loaded.each([image], lambda inputs: [run(loaded.model, inputs)])
    if not found:
        raise ValueError(f'none of the layers {list(chosen)} gives a map (N, D, h, w); name others')
    return found


def _keep(found: dict[str, np.ndarray], name: str, module: nn.Module, inputs: tuple, output: object) -> None:
    features: Tensor | None = last_tensor(output)
    if features is not None and features.ndim == 4:
        found[name] = self_attention(features.float())[0, 0].cpu().numpy()
