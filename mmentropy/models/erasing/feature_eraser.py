# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What feature erasers share: they act on named layers of any backbone, through forward hooks, in training only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmentropy.ops.erasing.feature_erasing import apply_to_tokens


class FeatureEraser(nn.Module):
    """Changes the output of layers while the model trains; ``LocalizationClassifier(erasing=[...])`` attaches it.

    The layers' code and state dict stay as they are, and in evaluation their output too. Parameters that an eraser
    needs for training lie in the model under ``erasing``.

    Args:
        layers: names of the backbone's layers, as ``backbone.named_modules()`` tells them: ``('layer3', 'layer4')``.
            Their output is (B, D, H, W), a tuple whose last entry that is, or tokens (B, n, D).
        prob: share of the training batches on which it acts; 0 is the plain model bit for bit.

    >>> class Silence(FeatureEraser):
    ...     def erase(self, features):
    ...         return features * 0
    >>> backbone = nn.Sequential(nn.Identity())
    >>> eraser = Silence(layers=['0'])
    >>> eraser.attach(backbone)
    >>> backbone(torch.ones(1, 1, 1, 1)).item(), eraser.eval() and backbone(torch.ones(1, 1, 1, 1)).item()
    (0.0, 1.0)
    """

    def __init__(self, layers: Sequence[str] = (), prob: float = 1.0) -> None:
        super().__init__()
        if isinstance(layers, str):
            raise ValueError(f'{type(self).__name__}: layers is a list of names, got the text {layers!r}')
        if not 0 <= prob <= 1:
            raise ValueError(f'{type(self).__name__}: prob must be in [0, 1], got {prob}')
        self.layers, self.prob, self.extra_tokens = tuple(layers), prob, 0

    def attach(self, backbone: nn.Module, head: nn.Module | None = None) -> None:
        """Hook into the layers of a backbone.

        Raises:
            ValueError: for a layer that it does not have, with those that it has.
        """
        self.extra_tokens = getattr(backbone, 'num_extra_tokens', 0)
        for name, layer in find_layers(backbone, self.layers, type(self).__name__).items():
            layer.register_forward_hook(_Hook(self, name))

    def act(self, name: str, output: Tensor) -> Tensor | None:
        """The new output of a layer, or None to leave it."""
        if self.prob < 1 and (self.prob == 0 or torch.rand(()) >= self.prob):
            return None
        return apply_to_tokens(self.erase, output, self.extra_tokens) if output.ndim == 3 else self.erase(output)

    def erase(self, features: Tensor) -> Tensor:
        """(B, D, H, W) to the same shape."""
        return features

    def losses(self, features: Tensor, head: nn.Module, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Losses beside the head's, from the last feature map."""
        return {}

    def fuse(self, maps: Tensor, features: Tensor, classes: Tensor) -> Tensor:
        """The class maps (B, K, H, W) of a prediction, where the method has something to say about them."""
        return maps

    def extra_repr(self) -> str:
        return f'layers={self.layers}, prob={self.prob}'


class _Hook:
    """A forward hook that is copied along with its eraser when the model is, and pickles."""

    def __init__(self, eraser: FeatureEraser, name: str) -> None:
        self.eraser, self.name = eraser, name

    def __call__(self, module: nn.Module, inputs: tuple, output: Tensor | tuple | list) -> Tensor | tuple | list | None:
        if not self.eraser.training:
            return None
        if isinstance(output, tuple | list):
            last = self.eraser.act(self.name, output[-1])
            return None if last is None else type(output)([*output[:-1], last])
        return self.eraser.act(self.name, output)


def find_layers(backbone: nn.Module, names: Sequence[str], who: str) -> dict[str, nn.Module]:
    """name -> layer; ValueError for a name that the backbone does not have."""
    modules = dict(backbone.named_modules())
    for name in names:
        if name not in modules:
            parent = name.rpartition('.')[0]
            parent = parent if parent in modules else ''
            there = [f'{parent}.{child}'.lstrip('.') for child, _ in modules[parent].named_children()]
            raise ValueError(f'{who}: {type(backbone).__name__} has no layer {name!r}; there are {", ".join(there)}')
    return {name: modules[name] for name in names}


def label_scores(data_samples: list[DataSample], num_classes: int) -> Tensor:
    """(B, C) the samples' labels as scores: multi-hot, or what a batch augmentation mixed."""
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples])
    rows = [nn.functional.one_hot(sample.gt_label, num_classes).amax(0) for sample in data_samples]
    return torch.stack(rows).float()
