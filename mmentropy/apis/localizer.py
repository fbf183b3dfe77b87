# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Images in; labels, maps, boxes and masks out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmentropy.engine.model_loading import LoadedModel, load_model
from mmentropy.explain import Explainer, build_explainer, check_grid
from mmentropy.explain.targets import NO_CLASS, Region, Target
from mmentropy.image_files import read_image
from mmentropy.ops.localizing.map_boxes import BOX_CHOICES, boxes_from_map, foreground_mask
from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.overlay import blend_map
from mmentropy.ops.mapping.reading import Reading
from mmentropy.ops.mapping.scaling import normalize_map, resize_map, upsample_map
from mmentropy.ops.mapping.score_functions import difference
from mmentropy.structures import height_and_width

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
        ranking_scores: their probabilities.
        entropy: (h, w) float32, of the prediction at each location of the maps, in nats; None where neither the reading
            nor ``keep_entropy`` asks for it, and where there is none.
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
    ranking_scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    entropy: np.ndarray | None = None
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
        **options: of every map method: ``target_layer``, ``classifier``, ``scales``, ``flip``, ``class_chunk``,
            ``score_function``, ``keep_entropy``.
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
        targets: Target | Sequence[Target] | None = None,
        region: Region | None = None,
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
            targets: in place of classes: a function from the logits to scores, such as
                :func:`~mmentropy.ops.mapping.score_functions.difference`; or a list, one an image. The result's
                label is −1, its score the target's.
            region: of a segmentor, for gradient maps: ``predicted``, ``all``, a mask of the images' size, or a box
                x0 y0 x1 y1 in pixels of each image.

        Returns:
            one result an image, in order.
        """
        if on_error not in ('auto', 'raise', 'record'):
            raise ValueError(f"on_error must be 'auto', 'raise' or 'record', got {on_error!r}")
        if on_error == 'auto':
            on_error = 'raise' if is_single(images) else 'record'
        total = count_images(images)
        options = (classes, method, box, threshold, topk, on_error, normalize, targets, region)
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
        targets: Target | Sequence[Target] | None = None,
        region: Region | None = None,
    ) -> Iterator[Localization]:
        """As a call, but one result after the other: memory does not grow with the number of images."""
        if box not in BOX_CHOICES:
            raise ValueError(f'box must be one of {BOX_CHOICES}, got {box!r}')
        if topk < 1:
            raise ValueError(f'topk counts classes and is at least 1, got {topk}')
        # These refuse a wrong threshold or normalisation before any work.
        foreground_mask(normalize_map(np.zeros((1, 1)), normalize), threshold)
        wanted = _Wanted(self._class_numbers(classes), topk, targets, region)
        batch: list[tuple[Localization, np.ndarray | None]] = []
        for number, (name, source) in enumerate(iterate_images(images)):
            wanted.check(number)
            result, image = Localization(name, threshold=threshold, normalize=normalize), None
            try:
                image = read_image(source, self.exif)
                result.size = image.shape[:2]
            except (ValueError, FileNotFoundError) as error:
                if on_error == 'raise':
                    raise
                result.error = str(error)
            batch.append((result, image))
            wanted.numbers.append(number)
            if sum(image is not None for _, image in batch) == self.batch_size:
                yield from self._finish(batch, wanted, method, box)
                batch, wanted.numbers = [], []
        yield from self._finish(batch, wanted, method, box)

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

    def difference(self, wanted: object, against: object) -> Target:
        """A target: a class's logit less the mean of others', by names or numbers.

        Raises:
            ValueError: for a name that the model does not have, or for more than one class to explain.
        """
        named, others = self._class_numbers(wanted), self._class_numbers(against)  # type: ignore[arg-type]
        if not isinstance(named, list) or len(named) != 1 or not isinstance(others, list):
            raise ValueError('a difference is that of one class to others: name one in classes')
        return difference(named[0], others)

    def explainer(self, method: str) -> Explainer:
        """What draws a method's maps, built once."""
        if method not in self._explainers:
            self._explainers[method] = build_explainer(method, self.loaded.model, **self._method_options(method))
        return self._explainers[method]

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
        wanted: _Wanted,
        method: str,
        box: str,
    ) -> Iterator[Localization]:
        readable = [(i, image) for i, (_, image) in enumerate(batch) if image is not None]
        images = [image for _, image in readable]
        for group in self.loaded.groups(images):
            inputs = self.loaded.inputs([images[i] for i in group])
            places = [readable[i][0] for i in group]
            found = self.explainer(method)(inputs, **wanted.of(places, [images[i] for i in group], inputs))
            # A class-agnostic map stands for each of the classes.
            maps = found.maps.expand(-1, found.classes.shape[1], -1, -1)
            scores = found.scores if found.scores is not None else found.logits
            if wanted.targets is None:
                scores = self.loaded.scores(found.logits).gather(1, found.classes)
            ranking = found.logits.topk(min(5, found.logits.shape[1])).indices
            ranked = self.loaded.scores(found.logits).gather(1, ranking)
            for row, place in enumerate(places):
                result = batch[place][0]
                result.maps, result.scores = maps[row].float().cpu().numpy(), scores[row].float().cpu().numpy()
                result.labels, result.ranking = found.classes[row].cpu().numpy(), ranking[row].cpu().numpy()
                result.ranking_scores, result.grid = ranked[row].float().cpu().numpy(), found.grid
                if found.entropy is not None:
                    result.entropy = found.entropy[row].float().cpu().numpy()
                result.class_names = self._names(result.labels.tolist(), wanted.target_of(place))
                self._complete(result, box)
        for result, _ in batch:
            yield result

    def _names(self, labels: list[int], target: Target | None) -> tuple[str, ...]:
        names = self.classes or ()
        called = str(getattr(target, '__name__', 'target'))
        return tuple(called if i == NO_CLASS else names[i] if i < len(names) else str(i) for i in labels)

    def _complete(self, result: Localization, box: str) -> None:
        """Grid and boxes, from the maps."""
        # The whole image was resized to the network's input.
        result.grid = result.grid and result.grid.before_resize(result.size)
        height, width = result.size
        shrink = min(1.0, BOX_RESOLUTION / max(height, width))
        size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        factor = np.array([width / size[1], height / size[0]] * 2, dtype=np.float32)
        result.boxes = [boxes_from_map(cam, result.threshold, box) * factor for cam in result.upsampled(size)]


@dataclass
class _Wanted:
    """What is asked of the images of a batch, in the words of an explainer."""

    classes: list[int] | str | None
    topk: int
    targets: Target | Sequence[Target] | None
    region: Region | None
    numbers: list[int] = field(default_factory=list)  # of the batch's images, among all that were given

    def __post_init__(self) -> None:
        if self.classes is not None and self.targets is not None:
            raise ValueError('give classes or targets, not both: a target says itself what it scores')

    def check(self, number: int) -> None:
        """Refuse an image for which there is no target, before any work on its batch."""
        if isinstance(self.targets, Sequence) and number >= len(self.targets):
            raise ValueError(f'{len(self.targets)} target(s) were given for more images; give one an image')

    def target_of(self, place: int) -> Target | None:
        """That of the batch's image at this place."""
        return self.targets[self.numbers[place]] if isinstance(self.targets, Sequence) else self.targets

    def of(self, places: list[int], images: list[np.ndarray], inputs: Tensor) -> dict[str, Any]:
        """Arguments for the images at these places, whose inputs these are."""
        asked: dict[str, Any] = {} if self.region is None else {'region': self._region(images, inputs)}
        if isinstance(self.targets, Sequence):
            return asked | {'targets': [self.target_of(place) for place in places]}
        if self.targets is not None:
            return asked | {'targets': self.targets}
        if self.classes is None:
            return asked | {'classes': lambda logits: logits.topk(min(self.topk, logits.shape[1])).indices}
        return asked | {'classes': None if self.classes == 'all' else [self.classes] * len(places)}

    def _region(self, images: list[np.ndarray], inputs: Tensor) -> Region:
        """Boxes and masks in pixels of the inputs."""
        if isinstance(self.region, str):
            return self.region
        given = np.asarray(self.region, np.float32)
        height, width = inputs.shape[2:]
        if given.shape == (4,):
            scales = [(width / image.shape[1], height / image.shape[0]) * 2 for image in images]
            return torch.from_numpy(given * np.array(scales, np.float32)).to(inputs.device)
        wrong = next((image.shape[:2] for image in images if image.shape[:2] != given.shape), None)
        if wrong is not None:
            raise ValueError(f'region must be a box of 4 numbers or a mask of the image, {wrong}, got {given.shape}')
        mask = resize_map((given != 0).astype(np.float32), (height, width), 'nearest')
        return torch.from_numpy(mask).to(inputs.device)
