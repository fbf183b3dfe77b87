# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What all map methods share: finding the layer, classes, scales and flips, and leaving the model as it was."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .anatomy import Anatomy, dissect
from .watching import frozen, hooked, last_tensor, run

Classes = Tensor | Sequence | int | Callable[[Tensor], Tensor] | None


@dataclass
class Explanation:
    """Maps of a batch.

    Attributes:
        maps: (N, K, h, w) raw, at feature resolution, on the model's device; (N, 1, h, w) of a class-agnostic method.
        classes: (N, K) long.
        logits: (N, C).
    """

    maps: Tensor
    classes: Tensor
    logits: Tensor


def class_table(classes: Classes, logits: Tensor) -> Tensor:
    """What the caller asked for as an (N, K) table.

    Args:
        classes: None for all classes; one int for every image alike; (N,) one class an image; (N, K); or a function
            from the logits to one of these.
        logits: (N, C) of the batch.

    Raises:
        ValueError: for more or fewer rows than images, rows of different length, or a class outside [0, C).
    """
    num_images, num_classes = logits.shape
    if callable(classes):
        classes = classes(logits)
    if classes is None:
        return torch.arange(num_classes, device=logits.device).expand(num_images, -1)
    if isinstance(classes, int):
        classes = [classes] * num_images
    try:
        table = torch.as_tensor(classes, device=logits.device)
    except (TypeError, ValueError):
        raise ValueError(f'classes must be whole numbers, with as many for each image, got {classes!r}') from None
    if table.is_floating_point() or table.ndim not in (1, 2):
        raise ValueError(f'classes must be whole numbers, (N,) or (N, K), got {table.dtype} {tuple(table.shape)}')
    if len(table) != num_images:
        raise ValueError(
            f'classes were asked for {len(table)} image(s), but the batch has {num_images}: '
            'give one row of classes an image'
        )
    table = table.long().view(num_images, -1)
    wrong = table[(table < 0) | (table >= num_classes)]
    if wrong.numel():
        raise ValueError(f'class {int(wrong[0])} does not exist: the model has the classes 0 to {num_classes - 1}')
    return table


class Explainer(ABC):
    """Class maps of a batch of network inputs.

    The layer and the classifier are found at the first call, by one forward pass that is watched, or named; see
    :func:`~mmentropy.explain.anatomy.dissect`. The model is put in evaluation mode and its parameters' gradients are
    off for the time of a call; both are restored, and hooks are removed, also after an exception.

    Args:
        model: any network that gives (N, C) logits, or (N, C, H, W) class maps (a segmentor).
        target_layer: dotted name of the layer whose output is the feature map; None finds it.
        classifier: dotted name of the linear layer that gives the logits; None finds it.
        scales: input sizes to average over, as factors; raw maps are averaged at the size of factor 1 (or the first).
        flip: average with the mirrored image's maps as well.
        class_chunk: classes whose gradients may exist at once.
    """

    #: whether the method reads logits at every location, hence needs a linear classifier on the map's channels
    needs_classifier: ClassVar[bool] = False
    #: whether the method works on the map of logits of a segmentor
    handles_dense: ClassVar[bool] = False
    #: whether there is one map an image instead of one a class
    class_agnostic: ClassVar[bool] = False

    def __init__(
        self,
        model: nn.Module,
        target_layer: str | None = None,
        classifier: str | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        class_chunk: int = 16,
    ) -> None:
        if not scales or min(scales) <= 0:
            raise ValueError(f'scales must be positive factors, got {tuple(scales)}')
        if class_chunk < 1:
            raise ValueError(f'class_chunk counts classes and is at least 1, got {class_chunk}')
        self.model, self.target_layer, self.classifier = model, target_layer, classifier
        self.scales, self.flip, self.class_chunk = tuple(scales), flip, class_chunk
        self.anatomy: Anatomy | None = None

    def __call__(self, images: Tensor, classes: Classes = None) -> Explanation:
        """Maps of a batch.

        Args:
            images: (N, 3, H, W) network inputs (normalised), on the model's device.
            classes: None for all, one int, (N,) one an image, (N, K), or a function from logits to these.

        Returns:
            raw maps, their classes and the logits (means over scales and flips).
        """
        if images.ndim != 4 or not len(images):
            raise ValueError(f'images must be a batch (N, 3, H, W) with N > 0, got {tuple(images.shape)}')
        if self.anatomy is None:
            self.anatomy = dissect(self.model, images[:1], self.target_layer, self.classifier)
            self._check(self.anatomy)
        views = [(scale, mirrored) for scale in self.scales for mirrored in ((False, True) if self.flip else (False,))]
        size, maps, logits, table = None, 0, 0, None
        for scale, mirrored in sorted(views, key=lambda view: view[0] != 1.0):
            inputs = images if scale == 1 else _resize(images, [max(1, round(n * scale)) for n in images.shape[2:]])
            found = self._one(inputs.flip(3) if mirrored else inputs, classes)
            view = found.maps.flip(3) if mirrored else found.maps
            size = size or view.shape[2:]
            maps = maps + (view if view.shape[2:] == size else _resize(view, size))
            logits = logits + found.logits
            # The first view decides where a function chooses the classes: maps of one class are averaged.
            table = found.classes if table is None else table
            classes = table if callable(classes) else classes
        if len(views) > 1:
            maps, logits = maps / len(views), logits / len(views)
        return Explanation(maps, table, logits)

    def _check(self, anatomy: Anatomy) -> None:
        """Refuse a model that the method cannot read, and warn where it reads one only approximately."""
        name, model = type(self).__name__, type(self.model).__name__
        if anatomy.dense and not self.handles_dense:
            raise ValueError(f'{name} needs a classifier; this model gives class maps, which CAM and EntropyMap read')
        if anatomy.dense or not self.needs_classifier:
            return
        if anatomy.classifier is None or anatomy.pooling == 'tokens':
            raise ValueError(
                f'{name} needs a linear classifier on pooled features, and {model} has none on layer '
                f'{anatomy.name!r}; use GradCAM, or name target_layer and classifier'
            )
        if anatomy.pooling == 'other':
            warnings.warn(
                f'the classifier of {model} does not read the plain mean of layer {anatomy.name!r}; {name} applies its '
                'weights to that layer all the same, and leaves out what stands between (a norm, another pooling)',
                stacklevel=4,
            )

    def _one(self, images: Tensor, classes: Classes) -> Explanation:
        """One scale, one orientation."""
        with frozen(self.model), torch.no_grad():
            if self.anatomy.dense:
                maps = run(self.model, images)
                logits = maps.mean((2, 3))
                table = class_table(classes, logits)
                picked = maps if classes is None else maps.gather(1, _expand(table, maps))
                return self._dense(maps, picked, table, logits)
            return self._maps(images, classes)

    @abstractmethod
    def _maps(self, images: Tensor, classes: Classes) -> Explanation:
        """Maps of a classifier."""

    def _dense(self, maps: Tensor, picked: Tensor, table: Tensor, logits: Tensor) -> Explanation:
        """Maps of a segmentor from its logits ``maps`` (N, C, H, W) and those asked for."""
        raise TypeError(f'{type(self).__name__} says that it handles segmentors, but has no _dense')

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The feature map (N, D, h, w) and the logits (N, C), in one forward pass."""
        kept: list[Tensor] = []
        handle = self.anatomy.layer.register_forward_hook(lambda m, i, output: kept.append(last_tensor(output)))
        with hooked([handle]):
            logits = run(self.model, images)
        return self.anatomy.to_map(kept[-1], tuple(images.shape[2:])), logits


def _resize(images: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(images, size=tuple(size), mode='bilinear', align_corners=False)


def _expand(table: Tensor, maps: Tensor) -> Tensor:
    return table[:, :, None, None].expand(-1, -1, *maps.shape[2:])
