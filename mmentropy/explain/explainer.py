# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What all map methods share: layer, classes, views, reading, grid, and leaving the model as it was."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmentropy.ops.certainty.entropy import Score, location_entropy
from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.reading import Reading, read_maps
from mmentropy.ops.mapping.scaling import move_maps
from mmentropy.ops.mapping.views import View, view_size, views_of

from .anatomy import Anatomy, dissect
from .grids import LayerGrid
from .layers import deepest_layer
from .patch_affinity import patch_affinity
from .targets import Asked, Classes, Question, Region, ScoreFunction, Target, check_function
from .watching import frozen, hooked, last_tensor, run

#: What is read at a location where the classifier does not read the mean of the map, by the anatomy's pooling.
RULES = {
    'class_token': (
        'its classifier reads the class token, and is read on the patch tokens beside it; no patch was trained so, and '
        'the maps add up to no logit'
    ),
    'cosine': (
        'its classifier reads the direction of the pooled feature, and is read on the direction of each location; the '
        'maps add up to no logit'
    ),
}


@dataclass
class Explanation:
    """Maps of a batch.

    Attributes:
        maps: (N, K, h, w) raw, on the model's device; (N, 1, h, w) of a class-agnostic method. Of one view at feature
            resolution; of several drawn over the image, at its size divided by
            :data:`~mmentropy.ops.mapping.views.VIEW_STRIDE`.
        classes: (N, K) long; −1 for a target that is no class.
        logits: (N, C); of a segmentor, the mean over the pixels.
        grid: where the locations look, in pixels of the network input; None is half-pixel. Drawn by
            :func:`~mmentropy.ops.mapping.scaling.draw_maps`.
        scores: (N, K), what is explained: the classes' scores, or those of the targets.
        entropy: (N, h, w) of the prediction at each location of the maps, in nats, where the reading needs it or
            ``keep_entropy`` asks for it; None otherwise, for several views, and where locations have no prediction.
    """

    maps: Tensor
    classes: Tensor
    logits: Tensor
    grid: MapGrid | None = HALF_PIXEL
    scores: Tensor | None = None
    entropy: Tensor | None = None


class Explainer(ABC):
    """Class maps of a batch of network inputs.

    The layer and the classifier are found at the first call, by one forward pass that is watched, or named; see
    :func:`~mmentropy.explain.anatomy.dissect`. The model is put in evaluation mode and its parameters' gradients are
    off for the time of a call; both are restored, and hooks are removed, also after an exception.

    Args:
        model: any network that gives (N, C) logits, or (N, C, H, W) class maps (a segmentor).
        target_layer: dotted name of the layer whose output is the feature map; None finds it.
        classifier: dotted name of the linear layer that gives the logits; None finds it.
        scales: input sizes to average over, as factors. Maps of several views are drawn over the image and averaged
            there.
        flip: average with the mirrored image's maps as well.
        class_chunk: classes whose gradients may exist at once.
        reading: how maps are read: ``protocol`` (raw), ``certain``, ``certain+spread``, or a
            :class:`~mmentropy.ops.mapping.reading.Reading` or a dict of its arguments. Each view is read on its own.
            Certainty needs logits at every location; where there are none one warning says that it is left out.
        grid: where maps are drawn: ``followed`` (see :func:`~.grids.find_grid`), ``measured`` (moved by what the
            gradients of the first call's images say, see :func:`~.grids.measured_shift`) or ``half_pixel``.
        score_function: what of a class is explained: ``logit``, ``probability``, ``log_probability``, ``sigmoid``,
            ``log_sigmoid``, ``margin`` (to the largest other class), or a function from (N, C) logits and an (N, K)
            table of classes to (N, K) scores; see :mod:`mmentropy.ops.mapping.score_functions`. A method that needs no
            gradient reads its slope at the logits.
        score: how the location entropy is taken: ``softmax``, or ``sigmoid`` (the mean of the classes' binary
            entropies) for a multi-label model.
        keep_entropy: give the location entropy beside the maps of any reading, where the network has one. It comes from
            the same forward pass.
    """

    #: whether the method reads logits at every location, hence needs a linear classifier on the map's channels
    needs_classifier: ClassVar[bool] = False
    #: whether the method works on the map of logits of a segmentor; others explain a score by its deepest layer
    handles_dense: ClassVar[bool] = False
    #: whether there is one map an image instead of one a class
    class_agnostic: ClassVar[bool] = False
    #: whether the map tells where the network looks; a control does not
    has_place: ClassVar[bool] = True

    def __init__(
        self,
        model: nn.Module,
        target_layer: str | None = None,
        classifier: str | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        class_chunk: int = 16,
        reading: Reading | dict | str = 'protocol',
        grid: str = 'followed',
        score: Score = 'softmax',
        score_function: ScoreFunction = 'logit',
        keep_entropy: bool = False,
    ) -> None:
        views_of((1, 1), scales)  # refuses wrong scales
        if class_chunk < 1:
            raise ValueError(f'class_chunk counts classes and is at least 1, got {class_chunk}')
        self.model, self.target_layer, self.classifier = model, target_layer, classifier
        self.scales, self.flip, self.class_chunk = tuple(scales), flip, class_chunk
        self.reading, self.grid, self.score = Reading.of(reading), LayerGrid(grid), score
        self.score_function, self.keep_entropy = check_function(score_function), keep_entropy
        self.anatomy: Anatomy | None = None
        self._told = False  # that certainty is left out

    def __call__(
        self,
        images: Tensor,
        classes: Classes = None,
        targets: Target | Sequence[Target] | None = None,
        region: Region | None = None,
    ) -> Explanation:
        """Maps of a batch.

        Args:
            images: (N, 3, H, W) network inputs (normalised), on the model's device.
            classes: None for all, one int, (N,) one an image, (N, K), or a function from logits to these.
            targets: in place of classes: a function from logits (N, C) to scores, (N,) or (N, K), such as
                :func:`~mmentropy.ops.mapping.score_functions.difference`; or a list of them, one an image.
            region: of a segmentor: the pixels over which a score is averaged. ``predicted`` (those of the class, the
                default: a class predicted nowhere has a map of zeros), ``all``, a mask (H, W) or (N, H, W), a box
                x0 y0 x1 y1 or (N, 4), in pixels of the inputs.

        Returns:
            the maps, their classes, the logits (means over the views) and the maps' grid.

        Raises:
            ValueError: for images, classes, targets or a region that do not fit, in one sentence.
        """
        if images.ndim != 4 or not len(images):
            raise ValueError(f'images must be a batch (N, 3, H, W) with N > 0, got {tuple(images.shape)}')
        question = Question(classes, targets, self.score_function, region)
        if self.anatomy is None:
            self.anatomy = self._dissected(images[:1])
        size = (images.shape[2], images.shape[3])
        first, *others = views_of(size, self.scales, self.flip)
        found = self._look(images, first, question)
        if not others:
            return replace(found, grid=found.grid and found.grid.before_resize(size))
        small = view_size(size)
        maps, logits = first.drawn(found.maps, small, found.grid, 'cubic'), found.logits
        scores = found.scores
        # The first view decides where a function chooses the classes: maps of one class are averaged.
        question = replace(question, classes=found.classes) if callable(classes) else question
        for view in others:
            more = self._look(images, view, question)
            maps = maps + view.drawn(more.maps, small, more.grid, 'cubic')
            logits, scores = logits + more.logits, scores + more.scores
        count = 1 + len(others)
        grid = HALF_PIXEL if found.grid is None else MapGrid.half_pixel(small, size)
        return Explanation(maps / count, found.classes, logits / count, grid, scores / count)

    def _dissected(self, image: Tensor) -> Anatomy:
        anatomy = dissect(self.model, image, self.target_layer, self.classifier, by_location=self.needs_classifier)
        self._check(anatomy)
        if anatomy.dense and not self.handles_dense:
            return deepest_layer(self.model, image, self.target_layer)
        return anatomy

    def _look(self, images: Tensor, view: View, question: Question) -> Explanation:
        """One view of the images, as it is; its grid is in the view's own pixels."""
        inputs = view.turned(_resize(images, view.size))
        found = self._one(inputs, question.seen_by(view, images))
        return replace(found, grid=self._grid(inputs))

    def _grid(self, inputs: Tensor) -> MapGrid | None:
        """Where the locations of the method's maps look."""
        return self.grid(self.model, self.anatomy, inputs)

    def _check(self, anatomy: Anatomy) -> None:
        """Refuse a model that the method cannot read, and warn where it reads one only approximately."""
        name, model = type(self).__name__, type(self.model).__name__
        if anatomy.dense or not self.needs_classifier:
            return
        if anatomy.classifier is None or anatomy.pooling == 'tokens':
            raise ValueError(
                f'{name} needs a linear classifier on pooled features, and {model} has none on layer '
                f'{anatomy.name!r}; use GradCAM, or name target_layer and classifier'
            )
        if anatomy.pooling in RULES:
            warnings.warn(f'{name} on {model}, layer {anatomy.name!r}: {RULES[anatomy.pooling]}', stacklevel=4)
        if anatomy.pooling == 'other':
            warnings.warn(
                f'the classifier of {model} does not read the plain mean of layer {anatomy.name!r}; {name} applies its '
                'weights to that layer all the same, and leaves out what stands between (a norm, another pooling)',
                stacklevel=5,
            )

    def _one(self, images: Tensor, question: Question) -> Explanation:
        """Maps of these inputs, read; without their grid."""
        with frozen(self.model), torch.no_grad():
            if self.anatomy.layer is None:
                if question.region is not None:
                    raise ValueError(
                        f'{type(self).__name__} draws the scores of a segmentor at every pixel; a region belongs to '
                        'the maps of GradCAM and its like'
                    )
                features = run(self.model, images)
                found = self._dense(features, replace(question, region='all').of(features))
            else:
                kept: list[Tensor] = []  # the layer's calls in the first pass, of the images themselves: a method may
                passes: list[bool] = []  # run others after it, and a layer may be called more than once in each
                handles = [
                    self.anatomy.layer.register_forward_hook(
                        lambda m, i, output: None if passes else kept.append(last_tensor(output).detach())
                    ),
                    self.model.register_forward_hook(lambda m, i, output: passes.append(True)),
                ]
                with hooked(handles):
                    found = self._maps(images, question)
                features = self.anatomy.scored(kept[-1], (images.shape[2], images.shape[3]))
            maps, entropy = self._read(found.maps, features, images)
            return replace(found, maps=maps, entropy=entropy)

    def _read(self, maps: Tensor, features: Tensor, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Maps as the reading has them, and the entropy; ``features`` (N, D, h, w) are a segmentor's logits."""
        reading, entropy = self.reading, None
        if reading.needs_entropy:
            entropy = self._location_entropy(features)
            reading = reading if entropy is not None else replace(reading, certain=False)
        elif self.keep_entropy and self._predicts_locations():
            entropy = self._location_entropy(features)
        size = (maps.shape[2], maps.shape[3])
        if (entropy is not None or reading.needs_features) and tuple(features.shape[2:]) != size:
            # Maps of other locations than the layer's: what they are read by is brought there.
            places = self.grid(self.model, self.anatomy, images), size, self._grid(images), tuple(images.shape[2:])
            features = move_maps(features, *places)
            entropy = None if entropy is None else move_maps(entropy, *places)
        affinity = patch_affinity(self.model, images, size) if reading.needs_attention else None
        return read_maps(maps, entropy, features, reading, affinity), entropy

    def _predicts_locations(self) -> bool:
        """Whether there are logits at every location: a segmentor's, or a linear classifier's on the map's channels."""
        anatomy = self.anatomy
        return anatomy.layer is None or (anatomy.classifier is not None and anatomy.pooling != 'tokens')

    def _location_entropy(self, features: Tensor) -> Tensor | None:
        """(N, h, w) in nats; None, said once, where the network has no logits at the locations."""
        if self._predicts_locations():
            linear = self.anatomy.classifier
            if self.anatomy.layer is None:  # a map of logits is a feature map whose classifier is the identity
                return location_entropy(features, torch.eye(features.shape[1]).to(features), None, self.score)
            return location_entropy(features, linear.weight, linear.bias, self.score)
        if not self._told:
            warnings.warn(
                f'{type(self.model).__name__} has no classifier on the locations of layer {self.anatomy.name!r}; its '
                'maps are read without certainty',
                stacklevel=2,
            )
            self._told = True
        return None

    @abstractmethod
    def _maps(self, images: Tensor, question: Question) -> Explanation:
        """Maps of a classifier, or of a segmentor by its deepest layer."""

    def _dense(self, logits: Tensor, asked: Asked) -> Explanation:
        """Maps of a segmentor from its logits (N, C, H, W)."""
        raise TypeError(f'{type(self).__name__} says that it handles segmentors, but has no _dense')

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The feature map (N, D, h, w), as the classifier reads locations, and the logits (N, C), in one pass."""
        kept: list[Tensor] = []
        handle = self.anatomy.layer.register_forward_hook(lambda m, i, output: kept.append(last_tensor(output)))
        with hooked([handle]):
            logits = run(self.model, images)
        return self.anatomy.scored(kept[-1], tuple(images.shape[2:])), logits


def explanation(maps: Tensor, asked: Asked, logits: Tensor) -> Explanation:
    """Raw maps of what was asked; their grid is found later."""
    logits = logits.detach()
    return Explanation(maps, asked.table, logits.mean((2, 3)) if logits.ndim == 4 else logits, scores=asked.values)


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[2:] == size:
        return images
    return F.interpolate(images, size=size, mode='bilinear', align_corners=False)
