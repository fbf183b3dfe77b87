# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Self-produced guidance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmentropy.ops.erasing.feature_erasing import label_map
from mmentropy.ops.erasing.self_guidance import guidance_loss, guidance_targets
from mmentropy.registry import MODELS

from .feature_eraser import FeatureEraser, find_layers, label_scores


@MODELS.register_module()
class SPG(FeatureEraser):
    r"""Self-produced guidance, after Zhang et al. (ECCV 2018): seeds of the attention teach earlier layers.

    The label's map teaches a small branch on the deeper layer where it is sure; that branch's output teaches the one on
    the shallower layer; their mean teaches a branch on the last map. The branches live in training only.

    Args:
        layers: (shallower, deeper); their output is (B, D, H, W).
        thresholds: (δ_l, δ_h) of the deeper branch, the shallower one, and the last map's.
        channels: of the branches' hidden layer.
        weight: of the three losses; 0 is the plain model.

    >>> SPG(layers=('layer2', 'layer3'), weight=0.5).thresholds
    ((0.05, 0.7), (0.05, 0.5), (0.1, 0.7))
    """

    def __init__(
        self,
        layers: Sequence[str] = ('layer2', 'layer3'),
        thresholds: Sequence[tuple[float, float]] = ((0.05, 0.7), (0.05, 0.5), (0.1, 0.7)),
        channels: int = 128,
        weight: float = 1.0,
    ) -> None:
        super().__init__(layers)
        if len(self.layers) != 2 or len(thresholds) != 3:
            raise ValueError(f'SPG needs two layers and three pairs of thresholds, got {layers} and {thresholds}')
        for low, high in thresholds:
            guidance_targets(torch.zeros(1, 1, 1, 1), low, high)
        self.thresholds, self.channels, self.weight = tuple(tuple(pair) for pair in thresholds), channels, weight
        self._seen: dict[str, Tensor] = {}

    def attach(self, backbone: nn.Module, head: nn.Module | None = None) -> None:
        if not hasattr(head, 'maps'):
            raise ValueError('SPG learns from the class maps of its head: use head=dict(type="mmentropy.CAMHead")')
        widths = [*layer_channels(backbone, self.layers), head.fc.in_features]
        with torch.random.fork_rng(devices=[]):
            self.shallow, self.deep, self.last = (self._branch(width) for width in widths)
        super().attach(backbone)

    def _branch(self, width: int) -> nn.Sequential:
        hidden = nn.Conv2d(width, self.channels, 3, padding=1)
        return nn.Sequential(hidden, nn.ReLU(inplace=True), nn.Conv2d(self.channels, 1, 1))

    def act(self, name: str, output: Tensor) -> None:
        """Look on; the output stays."""
        if self.weight:
            self._seen[name] = output

    def losses(self, features: Tensor, head: nn.Module, data_samples: list[DataSample]) -> dict[str, Tensor]:
        if not self.weight:
            return {}
        with torch.no_grad():
            attention = label_map(head.maps(features), label_scores(data_samples, head.num_classes))
        shallow, deep = (branch(self._seen.pop(name)) for branch, name in zip((self.shallow, self.deep), self.layers))
        near = F.interpolate(shallow.sigmoid(), size=deep.shape[2:], mode='bilinear', align_corners=False)
        taught = ((deep, attention), (shallow, deep.sigmoid()), (self.last(features), (near + deep.sigmoid()) / 2))
        names = ('loss_spg_deep', 'loss_spg_shallow', 'loss_spg_last')
        return {
            name: self.weight * guidance_loss(logits, teacher, *pair)
            for name, (logits, teacher), pair in zip(names, taught, self.thresholds)
        }

    def extra_repr(self) -> str:
        return f'layers={self.layers}, thresholds={self.thresholds}, weight={self.weight}'


def layer_channels(backbone: nn.Module, names: Sequence[str]) -> list[int]:
    """Channels of some layers' maps, read off one small forward pass.

    Raises:
        ValueError: for a layer that is not there, or whose output is no map.
    """
    shapes: dict[str, tuple] = {}
    handles = [
        layer.register_forward_hook(lambda _, __, output, name=name: shapes.update({name: tuple(output.shape)}))
        for name, layer in find_layers(backbone, names, 'SPG').items()
    ]
    size = getattr(backbone, 'img_size', 64)
    training = backbone.training
    try:
        with torch.no_grad():
            backbone.eval()  # not chained: the hosts' backbones return nothing here
            backbone(torch.zeros(1, 3, *((size, size) if isinstance(size, int) else size)))
    finally:
        backbone.train(training)
        for handle in handles:
            handle.remove()
    for name, shape in shapes.items():
        if len(shape) != 4:
            raise ValueError(f'SPG: the layer {name!r} gives the shape {shape}, not a map (B, D, H, W)')
    return [shapes[name][1] for name in names]
