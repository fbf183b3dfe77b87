# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Images in; labels, maps, boxes and masks out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmentropy.engine.model_loading import LoadedModel, height_and_width, load_model
from mmentropy.explain import Explanation, build_explainer, check_grid
from mmentropy.image_files import read_image
from mmentropy.ops.localizing.map_boxes import BOX_CHOICES, boxes_from_map, foreground_mask
from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.overlay import blend_map
from mmentropy.ops.mapping.reading import Reading
from mmentropy.ops.mapping.scaling import normalize_map, upsample_map

from .images import count_images, is_single, iterate_images
from .zero_shot import TEMPLATES, is_clip, zero_shot_model

#: How maps are read where neither the caller nor the model says, and what counts for boxes and masks.
READING = 'protocol'
THRESHOLD: float | str = 'mean_share'
#: They weigh by certainty themselves, and are read raw where nothing else is asked for.
CERTAIN_METHODS = ('entropy', 'entropy_cam')
#: Boxes are read from the map at the image's size, or at this length of its longer side for larger images.
BOX_RESOLUTION = 1024


@dataclass
class Localization:
    """What was found in one image, for K classes.

    Attributes:
        name: file name (relative to its folder), or running number.
        size: (height, width) of the image, in pixels.
        labels: (K,) int64 classes, best score first unless classes were asked for.
        class_names: their names, or their numbers as text.
        scores: (K,) float32 probabilities.
        maps: (K, h, w) float32, raw, at feature resolution; :meth:`upsampled` draws them over the image.
        boxes: K arrays (n, 4) float32, x0 y0 x1 y1 in pixels of the image, largest first.
        threshold: share of the normalised map's maximum above which a pixel counts, for boxes and masks; or the rule by
            which each map chooses it.
        normalize: ``max``: the share is one of the map's maximum, negative evidence cut; ``minmax``: of the height
            between minimum and maximum. See :func:`mmentropy.ops.mapping.scaling.normalize_map`.
        error: why there is nothing, in one sentence; None when all went well.
        ranking: at most five classes, best score first, whichever were asked for.
        grid: where the maps' locations look, in pixels of the image; None is half-pixel.

    >>> found = Localization('a.jpg', size=(1, 4), maps=np.array([[[0.0, 1.0, 2.0, 4.0]]]), threshold=0.4)
    >>> found.masks.tolist()
    [[[False, False, True, True]]]
    """

    name: str
    size: tuple[int, int] = (0, 0)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    class_names: tuple[str, ...] = ()
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    maps: np.ndarray = field(default_factory=lambda: np.zeros((0, 1, 1), np.float32))
    boxes: list[np.ndarray] = field(default_factory=list)
    threshold: float | str = THRESHOLD
    normalize: str = 'max'
    error: str | None = None
    ranking: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    grid: MapGrid | None = HALF_PIXEL

    def upsampled(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """Maps (K, H, W) in [0, 1] at the image's size, or another one; each location where it looks."""
        return upsample_map(self.maps, size or self.size, normalize=self.normalize, grid=self.grid)

    @property
    def masks(self) -> np.ndarray:
        """(K, H, W) bool: pixels above the threshold, at the image's size."""
        return np.stack([foreground_mask(cam, self.threshold) for cam in self.upsampled()])

    def overlay(self, image: np.ndarray, index: int = 0, alpha: float = 0.5) -> np.ndarray:
        """The map of one class over the (H, W, 3) uint8 RGB image."""
        return blend_map(image, self.upsampled(image.shape[:2])[index], alpha)


class Localizer:
    """Labels, class maps, boxes and masks from any classifier or segmentor.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> localizer = Localizer(nn.Sequential(*layers), input_size=16)  # or ('resnet18_8xb32_in1k', weights='file.pth')
    >>> found = localizer([np.zeros((40, 60, 3), np.uint8)], method='cam')[0]  # or of a folder: localizer('photos/')
    >>> found.size, len(found.labels) == len(found.maps) == len(found.boxes)
    ((40, 60), True)

    Args:
        model: a module; a config file of mmentropy, mmpretrain or mmsegmentation; or the name of an mmpretrain model.
        weights: checkpoint or state dict; see :func:`~mmentropy.engine.model_loading.load_model`.
        device: None takes the module's own, or the GPU where there is one.
        batch_size: images in one forward pass.
        input_size: side, or (height, width), that images are resized to; None takes the model's, and keeps each image's
            proportions where its test pipeline does (``keep_ratio=True``).
        trust_checkpoint: allow a checkpoint to hold arbitrary pickled objects.
        random_weights: take a config or a name without weights all the same; its maps mean nothing.
        exif: turn images upright by their camera's EXIF orientation, as viewers do. False keeps the stored pixels, to
            which the boxes and masks of data sets refer.
        reading: how maps are read: ``protocol`` (raw), ``relu``, ``certain``, ``certain+spread``, or a
            :class:`~mmentropy.ops.mapping.reading.Reading` or a dict of its arguments. None is what the model declares
            for the method, else :data:`READING`, but raw maps of the methods that weigh by certainty themselves.
        grid: where maps are drawn: ``followed``, in their place; ``measured``, moved by what the gradients of the first
            batch say; or ``half_pixel``, the field's drawing. None is what the model declares, else ``followed``.
        classes: classes by their names, for a CLIP: ``model`` is ``clip-vit-base-p16``, ``clip-vit-base-p32``,
            ``clip-vit-large-p14`` or a config of mmpretrain's ``CLIPZeroShot``, and nothing is trained.
        tokenizer: vocabulary of its text tower, see :class:`~mmentropy.engine.clip_tokenizer.ClipTokenizer`.
        templates: texts with ``{}`` for the name of a class.
        **options: of every map method: ``target_layer``, ``classifier``, ``scales``, ``flip``, ``class_chunk``.
    """

    def __init__(
        self,
        model: nn.Module | str | Path | object,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        batch_size: int = 8,
        input_size: int | tuple[int, int] | None = None,
        trust_checkpoint: bool = False,
        random_weights: bool = False,
        exif: bool = True,
        reading: Reading | dict | str | None = None,
        grid: str | None = None,
        classes: Sequence[str] | None = None,
        tokenizer: str | Path | None = None,
        templates: Sequence[str] = TEMPLATES,
        **options: Any,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f'batch_size counts images and is at least 1, got {batch_size}')
        if grid is not None:
            options['grid'] = check_grid(grid)
        if reading is not None:
            options['reading'] = Reading.of(reading)
        size = None if input_size is None else height_and_width(input_size)
        if classes is not None:
            if not is_clip(model):
                told = type(model).__name__ if isinstance(model, nn.Module) else repr(str(model))
                raise ValueError(
                    f'{told} has its own classes; classes by their names are for a CLIP: clip-vit-base-p16'
                )
            names = [classes] if isinstance(classes, str) else classes
            model = zero_shot_model(str(model), names, weights, tokenizer, templates, random_weights=random_weights)
            weights = None
        self.loaded: LoadedModel = load_model(model, weights, device, trust_checkpoint, random_weights)
        if size is not None:
            self.loaded.fix_size(size)
        self.batch_size, self.exif, self.options = batch_size, exif, options
        self._explainers: dict[str, Any] = {}

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, where the model or its checkpoint has them."""
        return self.loaded.classes

    def __call__(
        self,
        images: object,
        classes: str | Sequence[int | str] | int | None = None,
        method: str = 'cam',
        box: str = 'largest',
        threshold: float | str = THRESHOLD,
        topk: int = 1,
        progress: bool = True,
        on_error: str = 'auto',
        normalize: str = 'max',
    ) -> list[Localization]:
        """Localise in one image or many.

        Args:
            images: a path, a folder, an array, a tensor, a PIL image, or any iterable of these (a generator, too).
            classes: None for the ``topk`` best of each image, ``'all'``, or numbers or names of classes.
            method: one of :data:`mmentropy.explain.METHODS`.
            box: ``largest`` or ``all`` boxes of a map.
            threshold: share for boxes and masks, see ``normalize`` (0.2 in the CAM paper); or a rule by which each map
                chooses it: ``mean_share`` (the map's own mean), ``entropy_area``, ``otsu``, see
                :mod:`mmentropy.ops.localizing.threshold_rules`.
            topk: classes an image without ``classes``.
            progress: show a bar when there is more than one batch.
            on_error: ``raise``; ``record`` (the result has an ``error``, a warning is given, the rest is done); or
                ``auto``: raise for a single image, record for several.
            normalize: what the threshold is a share of: ``max`` as in the CAM paper, the map's maximum, negative
                evidence cut; ``minmax`` as in the WSOL protocol, the height between minimum and maximum.

        Returns:
            one result an image, in order.
        """
        if on_error not in ('auto', 'raise', 'record'):
            raise ValueError(f"on_error must be 'auto', 'raise' or 'record', got {on_error!r}")
        if on_error == 'auto':
            on_error = 'raise' if is_single(images) else 'record'
        total = count_images(images)
        options = (classes, method, box, threshold, topk, on_error, normalize)
        stream: Iterable[Localization] = self.stream(images, *options)
        if progress and (total is None or total > self.batch_size):
            from rich.progress import track

            stream = track(stream, 'localising', total=total)
        results = list(stream)
        for result in results:
            if result.error:
                warnings.warn(result.error, stacklevel=2)
        return results

    def stream(
        self,
        images: object,
        classes: str | Sequence[int | str] | int | None = None,
        method: str = 'cam',
        box: str = 'largest',
        threshold: float | str = THRESHOLD,
        topk: int = 1,
        on_error: str = 'record',
        normalize: str = 'max',
    ) -> Iterator[Localization]:
        """As a call, but one result after the other: memory does not grow with the number of images."""
        if box not in BOX_CHOICES:
            raise ValueError(f'box must be one of {BOX_CHOICES}, got {box!r}')
        if topk < 1:
            raise ValueError(f'topk counts classes and is at least 1, got {topk}')
        # These refuse a wrong threshold or normalisation before any work.
        foreground_mask(normalize_map(np.zeros((1, 1)), normalize), threshold)
        wanted = self._class_numbers(classes)
        batch: list[tuple[Localization, np.ndarray | None]] = []
        for name, source in iterate_images(images):
            result, image = Localization(name, threshold=threshold, normalize=normalize), None
            try:
                image = read_image(source, self.exif)
                result.size = image.shape[:2]
            except (ValueError, FileNotFoundError) as error:
                if on_error == 'raise':
                    raise
                result.error = str(error)
            batch.append((result, image))
            if sum(image is not None for _, image in batch) == self.batch_size:
                yield from self._finish(batch, wanted, method, box, topk)
                batch = []
        yield from self._finish(batch, wanted, method, box, topk)

    def _class_numbers(self, classes: str | Sequence[int | str] | int | None) -> list[int] | str | None:
        if classes is None or (isinstance(classes, str) and classes == 'all'):
            return classes
        items = [classes] if isinstance(classes, str | int | np.integer) else list(classes)
        numbers = []
        for item in items:
            if isinstance(item, str):
                if self.classes is None or item not in self.classes:
                    known = 'the model has no class names' if self.classes is None else 'not among the class names'
                    raise ValueError(f'class {item!r}: {known}; give its number')
                item = self.classes.index(item)
            numbers.append(int(item))
        return numbers

    def _explain(self, method: str, inputs: Tensor, wanted: list[int] | str | None, topk: int) -> Explanation:
        if method not in self._explainers:
            self._explainers[method] = build_explainer(method, self.loaded.model, **self._method_options(method))
        explainer = self._explainers[method]
        if wanted is None:
            return explainer(inputs, lambda logits: logits.topk(min(topk, logits.shape[1])).indices)
        return explainer(inputs, None if wanted == 'all' else [wanted] * len(inputs))

    def _method_options(self, method: str) -> dict:
        """The caller's options; before them what the model declares: how it pools, how its scores are read."""
        usual: dict[str, Any] = {'reading': 'protocol' if method in CERTAIN_METHODS else READING}
        if self.loaded.multi_label:
            usual['score'] = 'sigmoid'
        declared = getattr(self.loaded.model, 'method_options', None)  # of a LocalizationClassifier
        return {**usual, **(declared(method) if declared else {}), **self.options}

    def _finish(
        self,
        batch: list[tuple[Localization, np.ndarray | None]],
        wanted: list[int] | str | None,
        method: str,
        box: str,
        topk: int,
    ) -> Iterator[Localization]:
        def read(inputs: Tensor) -> Iterable[tuple]:
            explanation = self._explain(method, inputs, wanted, topk)
            # A class-agnostic map stands for each of the classes.
            maps = explanation.maps.expand(-1, explanation.classes.shape[1], -1, -1)
            scores = self.loaded.scores(explanation.logits).gather(1, explanation.classes)
            ranking = explanation.logits.topk(min(5, explanation.logits.shape[1])).indices
            return zip(maps, explanation.classes, scores, ranking, repeat(explanation.grid))

        parts = iter(self.loaded.each([image for _, image in batch if image is not None], read))
        for result, image in batch:
            if image is not None:
                maps, labels, scores, ranking, result.grid = next(parts)
                result.maps, result.scores = maps.float().cpu().numpy(), scores.float().cpu().numpy()
                result.labels, result.ranking = labels.cpu().numpy(), ranking.cpu().numpy()
                self._complete(result, box)
            yield result

    def _complete(self, result: Localization, box: str) -> None:
        """Names, grid and boxes, from the labels and maps."""
        names = self.classes or ()
        result.class_names = tuple(names[i] if i < len(names) else str(i) for i in result.labels.tolist())
        # The whole image was resized to the network's input.
        result.grid = result.grid and result.grid.before_resize(result.size)
        height, width = result.size
        shrink = min(1.0, BOX_RESOLUTION / max(height, width))
        size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        factor = np.array([width / size[1], height / size[0]] * 2, dtype=np.float32)
        result.boxes = [boxes_from_map(cam, result.threshold, box) * factor for cam in result.upsampled(size)]
