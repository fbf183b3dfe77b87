# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Multi-scale class maps and entropy maps of every image, batched by shape; or other people's maps instead."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mmentropy.explain import METHODS, build_explainer
from mmentropy.explain.grids import LAST_MAP, MEASURED_IMAGES, LayerGrid, check_grid
from mmentropy.explain.patch_affinity import patch_affinity
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.reading import Reading, read_maps
from mmentropy.ops.mapping.scaling import resize_map
from mmentropy.ops.mapping.views import View, view_size, views_of
from mmentropy.ops.seeding.seed_curve import curve_of_counts, seed_counts
from mmentropy.ops.seeding.seeds import scale_to_peak
from mmentropy.registry import STAGES

from .files import ImageMaps
from .foreign_maps import read_foreign, read_sec
from .stage import Context, PerImageStage, one_sentence, pack_counts, unpack_counts

#: images (B, 3, H, W) uint8 RGB and K classes (None for all) → their maps (B, K, h, w) as they are read, location
#: entropy (B, h, w) in nats or None, and where the locations look in these images
MapModel = Callable[[Tensor, Sequence[int] | None], tuple[Tensor, Tensor | None, MapGrid | None]]
THRESHOLDS = np.round(np.arange(0, 1, 0.01), 2)


class ClassifierMaps:
    """Maps of a ``LocalizationClassifier``: its own preprocessing, backbone, head. A :data:`MapModel`.

    Args:
        model: the classifier, in evaluation mode.
        reading: how maps are read, see :class:`~mmentropy.ops.mapping.reading.Reading`.
        grid: one of :data:`mmentropy.explain.GRIDS`; ``measured`` goes by the first images, or by those of
            :meth:`measure`.
        half: run the backbone in half precision, float16 on a GPU, bfloat16 on a CPU, and with the channels last in
            memory, as convolutions are fastest.

    Raises:
        ValueError: if the model's head gives no maps, or for another reading or grid.

    >>> from mmentropy.models import LocalizationClassifier
    >>> backbone = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
    >>> head = dict(type='mmentropy.CAMHead', num_classes=3)
    >>> model = LocalizationClassifier(backbone, dict(type='GlobalAveragePooling'), head).eval()
    >>> maps, entropy, grid = ClassifierMaps(model)(torch.zeros(2, 3, 64, 64), labels=[0, 2])
    >>> maps.shape, entropy.shape, grid.start, grid.step
    (torch.Size([2, 2, 2, 2]), torch.Size([2, 2, 2]), (0.0, 0.0), (32.0, 32.0))
    """

    def __init__(
        self, model: Any, reading: Reading | dict | str = 'relu', grid: str = 'followed', half: bool = False
    ) -> None:
        if not hasattr(getattr(model, 'head', None), 'maps'):
            raise ValueError(f'maps need a LocalizationClassifier with a CAMHead, got {type(model).__name__}')
        self.model, self.reading, self.grid = model, Reading.of(reading), LayerGrid(grid)
        self.half = half
        if half:
            model.backbone.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Sequence[int] | None = None) -> tuple[Tensor, Tensor, MapGrid | None]:
        inputs = self._inputs(images)
        layout = torch.channels_last if self.half else torch.contiguous_format
        with half_precision(inputs.device, self.half):
            features = self.model.extract_feat(inputs.contiguous(memory_format=layout), stage='backbone')[-1]
        features = features.float().contiguous()
        entropy = self.model.head.entropy_map(features)
        affinity = None
        if self.reading.needs_attention:
            affinity = patch_affinity(self.model.backbone, inputs, tuple(features.shape[2:]))
        maps = read_maps(self.model.head.maps(features), entropy, features, self.reading, affinity)
        picked = maps if labels is None else maps[:, list(labels)]
        return picked, entropy, self.grid(self.model.backbone, LAST_MAP, inputs)

    def measure(self, images: Sequence[np.ndarray]) -> None:
        """Let the gradients on these (H, W, 3) images say how far the weights move the grid; their mean counts."""
        inputs = (self._inputs(torch.from_numpy(image).permute(2, 0, 1)[None]) for image in images)
        self.grid.measure(self.model.backbone, LAST_MAP, inputs)

    def _inputs(self, images: Tensor) -> Tensor:
        return preprocessed(self.model, images)


class ExplainerMaps:
    """Maps of any network by any method of :mod:`mmentropy.explain`. A :data:`MapModel`.

    Args:
        model: the classifier, in evaluation mode, with the preprocessing of its host.
        method: one of :data:`mmentropy.explain.METHODS` with a map a class.
        reading, grid: see :class:`~mmentropy.explain.explainer.Explainer`.
        score: how the location entropy is taken, ``sigmoid`` for a multi-label model.

    Raises:
        ValueError: for a method that has one map an image.

    >>> from torch import nn
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> ExplainerMaps(nn.Sequential(*layers), 'grad_cam').explainer.reading.relu
    True
    """

    def __init__(
        self,
        model: Any,
        method: str,
        reading: Reading | dict | str = 'relu',
        grid: str = 'followed',
        score: str = 'sigmoid',
    ) -> None:
        self.model = model
        self.explainer = build_explainer(method, model, reading=reading, grid=grid, score=score)
        if self.explainer.class_agnostic:
            raise ValueError(f'{method} has one map an image; seeds need a map a class, such as grad_cam++ gives')

    def __call__(
        self, images: Tensor, labels: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor | None, MapGrid | None]:
        inputs = preprocessed(self.model, images)
        found = self.explainer(inputs, None if labels is None else [list(labels)] * len(inputs))
        entropy = None
        if hasattr(getattr(self.model, 'head', None), 'entropy_map'):
            with torch.no_grad():
                entropy = self.model.head.entropy_map(self.model.extract_feat(inputs, stage='backbone')[-1])
        if entropy is not None and entropy.shape[1:] != found.maps.shape[2:]:
            entropy = F.interpolate(entropy[:, None], found.maps.shape[2:], mode='bilinear', align_corners=False)[:, 0]
        return found.maps.detach(), entropy, found.grid

    def measure(self, images: Sequence[np.ndarray]) -> None:
        """Let the first image's gradients say how far the weights move the grid, see ``grid='measured'``."""
        self(torch.from_numpy(images[0]).permute(2, 0, 1)[None], [0])


def preprocessed(model: Any, images: Tensor) -> Tensor:
    """Network inputs of (B, 3, H, W) uint8 RGB images.

    The host's readers give BGR, and its preprocessor turns it round as the model was trained.
    """
    return model.data_preprocessor({'inputs': images.flip(1)})['inputs']


def half_precision(device: torch.device, wanted: bool) -> AbstractContextManager:
    """Autocast to float16 on a GPU, to bfloat16 on a CPU; nothing where it is not wanted."""
    dtype = torch.bfloat16 if device.type == 'cpu' else torch.float16
    return torch.autocast(device.type, dtype) if wanted else nullcontext()


def classifier_maps(
    config: str | Path,
    checkpoint: str | Path,
    device: str,
    reading: Reading | dict | str = 'relu',
    grid: str = 'followed',
    method: str = 'cam',
    half: bool = False,
) -> ClassifierMaps | ExplainerMaps:
    """Maps of a trained classifier; see :class:`ClassifierMaps` (``cam``) and :class:`ExplainerMaps`.

    Raises:
        ValueError: if the config's head gives no maps.
    """
    from mmentropy.engine.model_loading import load_model

    model = load_model(str(config), checkpoint, device).model
    try:
        if method != 'cam':
            return ExplainerMaps(model, method, reading, grid)
        return ClassifierMaps(model, reading, grid, half)
    except ValueError as error:
        raise ValueError(f'{config}: {error}') from None


def views_by(size: tuple[int, int], scales: Sequence[float], flip: bool | str) -> list[View]:
    """Looks at an image: every scale, with ``flip`` also mirrored; ``alternate`` mirrors every second scale instead.

    >>> [view.mirrored for view in views_by((8, 8), [1.0, 0.5, 2.0], 'alternate')]
    [False, True, False]
    """
    views = views_of(size, scales, bool(flip))
    return [views[2 * i + i % 2] for i in range(len(views) // 2)] if flip == 'alternate' else views


def multi_scale_maps(
    model: MapModel,
    images: Sequence[np.ndarray],
    scales: Sequence[float],
    flip: bool | str,
    size: tuple[int, int],
    labels: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Class maps summed, and entropy averaged, over scales and mirror images, each drawn in its place over the image.

    Args:
        model: see :data:`MapModel`.
        images: of one shape (H, W, 3), uint8.
        scales: factors of the image's size.
        flip: also the mirror image, and the mean of both counts once; ``alternate`` mirrors every second scale instead.
        size: (h, w) of the result.
        labels: K classes; None for all.

    Returns:
        (B, K, h, w) and (B, h, w), or None where the model has no location entropy.
    """
    whole = (images[0].shape[0], images[0].shape[1])
    views = views_by(whole, scales, flip)
    total: Tensor | float = 0.0
    has_entropy = True
    for view in views:
        resized = images
        if view.size != whole:
            resized = [cv2.resize(image, view.size[::-1], interpolation=cv2.INTER_CUBIC) for image in images]
        turned = view.turned(torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2))
        maps, entropy, grid = model(turned, labels)
        has_entropy = entropy is not None
        layers = torch.cat([maps.float(), entropy.float()[:, None]], dim=1) if has_entropy else maps.float()
        total = total + view.drawn(layers, size, grid)
    maps = (total[:, :-1] if has_entropy else total) / (len(views) / len(scales))
    return maps, total[:, -1] / len(views) if has_entropy else None


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the file's head; (0, 0) for what cannot be read, which its stage then says."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except Exception:  # Pillow raises many kinds on damaged files
        return 0, 0


class MapStage(PerImageStage):
    """Writes class maps and measures them over all background thresholds in one pass."""

    MEASURES = True

    def __init__(self, name: str = 'maps', source: str | None = None, threshold: float = 0.15) -> None:
        super().__init__(name, source)
        self.threshold = threshold

    def ids(self, ctx: Context) -> list[str]:
        return ctx.data.ids()  # the source is no per-image stage

    @property
    def thresholds(self) -> np.ndarray:
        """Where the maps are measured: :data:`THRESHOLDS`, and the fixed one."""
        return np.union1d(THRESHOLDS, [self.threshold])

    def measure(self, ctx: Context, keys: Sequence[str]) -> Any:
        classes, thresholds = ctx.data.num_classes + 1, self.thresholds
        total = np.zeros((3, classes, len(thresholds) + 1), np.int64)
        for key in keys:
            stored = ImageMaps.load(self.output(ctx, key))
            try:
                truth = ctx.data.mask(key, stored.size)
            except ValueError:
                continue
            if truth is not None:
                scores = scale_to_peak(resize_map(stored.maps, stored.size, 'bilinear'))
                total += seed_counts(scores, stored.labels, truth, thresholds, classes)
        return pack_counts(total)

    def summarise(self, ctx: Context, shares: list[Any]) -> dict[str, Any]:
        """mIoU of the maps over the threshold ``threshold``, and at the best one."""
        thresholds = self.thresholds
        curve = curve_of_counts(sum(unpack_counts(share) for share in shares), thresholds)
        if not np.isfinite(curve.miou).any():
            return {'mIoU': None}
        at = int(np.argmin(np.abs(thresholds - self.threshold)))
        best, value = curve.best
        return {
            'mIoU': round(100 * float(curve.miou[at]), 2),
            'IoU': [None if np.isnan(v) else round(100 * float(v), 2) for v in curve.iou[at]],
            'threshold': self.threshold,
            'best_mIoU': round(100 * value, 2),
            'best_threshold': round(best, 3),
        }


@STAGES.register_module()
class ClassMaps(MapStage):
    """Maps of the classifier for the image's own labels: npz, float16, one file an image.

    Args:
        name, source: ``source`` is the stage that trained the classifier.
        config: of the classifier; taken from the source by default.
        checkpoint: of the classifier; taken from the source by default.
        scales: factors of the image's size.
        flip: average with the mirror image; ``alternate`` mirrors every second scale instead, at half the cost.
        stride: of the maps that are kept, in pixels of the image.
        batch_size: images of one shape in a batch.
        threshold: fixed background threshold of the reported mIoU.
        reading: how maps are read, see :class:`~mmentropy.ops.mapping.reading.Reading`.
        grid: where they are drawn, one of :data:`mmentropy.explain.GRIDS`.
        method: ``cam``, or another of :data:`mmentropy.explain.METHODS` with a map a class.
        half: run the backbone in half precision (``cam``): the same maps but for rounding, twice as fast where the
            processor multiplies such numbers (bfloat16 on a CPU), slower where it does not.

    >>> stage = STAGES.build(dict(type='ClassMaps', source='classify', scales=(1.0, 2.0), stride=8))
    >>> stage.name, stage.needs, stage.scales
    ('maps', ['classify'], (1.0, 2.0))
    """

    SECONDS, BYTES = 0.8, 30_000

    def __init__(
        self,
        name: str = 'maps',
        source: str | None = None,
        config: str | None = None,
        checkpoint: str | None = None,
        scales: Sequence[float] = (1.0, 0.5, 1.5, 2.0),
        flip: bool | str = True,
        stride: int = 4,
        batch_size: int = 8,
        threshold: float = 0.15,
        reading: Reading | dict | str = 'relu',
        grid: str = 'followed',
        method: str = 'cam',
        half: bool = False,
    ) -> None:
        super().__init__(name, source, threshold)
        if flip not in (True, False, 'alternate'):
            raise ValueError(f"{name}: flip is True, False or 'alternate', got {flip!r}")
        if method not in METHODS:
            raise ValueError(f'{name}: method must be one of {", ".join(METHODS)}, got {method!r}')
        self.method, self.half = method, half
        self.reading, self.grid = Reading.of(reading), check_grid(grid)
        self.config, self.checkpoint = config, checkpoint
        self.scales, self.flip, self.stride, self.batch_size = tuple(scales), flip, stride, batch_size
        self._model: MapModel | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_model': None}  # each process loads its own

    def depends(self, ctx: Context) -> dict[str, str]:
        files = {str(path): ctx.digests.of(Path(path)) for path in (self.config, self.checkpoint) if path}
        if self.grid == 'measured':
            files['first images'] = ctx.digests.of_all(map(ctx.data.image_path, ctx.data.ids()[:MEASURED_IMAGES]))
        return {**super().depends(ctx), **files}

    def made_from(self, ctx: Context, key: str) -> list[Path]:
        return [ctx.data.image_path(key)]

    def in_order(self, ctx: Context, keys: list[str]) -> list[str]:
        """Images of one shape next to one another, so that the shares fill their batches."""
        return sorted(keys, key=lambda key: (image_size(ctx.data.image_path(key)), key))

    def model(self, ctx: Context) -> MapModel:
        """The maps' network, loaded once."""
        if self._model is None:
            folder = ctx.folder(self.source or '')
            config, checkpoint = self.config or folder / 'config.py', self.checkpoint or folder / 'model.pth'
            model = classifier_maps(config, checkpoint, ctx.device, self.reading, self.grid, self.method, self.half)
            if self.grid == 'measured':
                # The first of the set, so that every process of a run moves the maps alike.
                model.measure([ctx.data.image(key) for key in ctx.data.ids()[:MEASURED_IMAGES]])
            self._model = model
        return self._model

    def process(self, ctx: Context, key: str) -> None:
        self._write(ctx, [(key, ctx.data.image(key), ctx.data.labels(key))])

    def _write(self, ctx: Context, batch: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
        size = batch[0][1].shape[:2]
        small = view_size(size, self.stride)
        wanted = sorted({int(label) for _, _, labels in batch for label in labels})
        images = [image for _, image, _ in batch]
        maps, entropy = multi_scale_maps(self.model(ctx), images, self.scales, self.flip, small, wanted)
        for i, (key, _, labels) in enumerate(batch):
            own = maps[i, [wanted.index(label) for label in labels]].cpu().numpy()
            uncertain = None if entropy is None else entropy[i].cpu().numpy()
            # Divided by each map's maximum, so that float16 holds it whatever the network's scale.
            ImageMaps(labels, scale_to_peak(own), size, uncertain).save(self.output(ctx, key))

    def process_all(self, ctx: Context, keys: Sequence[str]) -> Iterator[tuple[str, str | None]]:
        """Images of one shape wait for one another, so that every batch is full but the last of its shape."""
        waiting: dict[tuple[int, ...], list] = defaultdict(list)
        loaded: list[tuple[str, np.ndarray, np.ndarray]] = []
        for key in keys:
            error = one_sentence(lambda key=key: loaded.append((key, ctx.data.image(key), ctx.data.labels(key))))
            if error:
                yield key, error
                continue
            item = loaded.pop()
            group = waiting[item[1].shape]
            group.append(item)
            # A bound on what is held: odd shapes do not pile up.
            if len(group) == self.batch_size or sum(map(len, waiting.values())) >= 16 * self.batch_size:
                full = waiting.pop(max(waiting, key=lambda shape: len(waiting[shape])))
                self._write(ctx, full)
                yield from ((done[0], None) for done in full)
        for group in waiting.values():
            self._write(ctx, group)
            yield from ((done[0], None) for done in group)


@STAGES.register_module()
class ForeignMaps(MapStage):
    """Other people's maps in place of ours.

    Args:
        name: see :class:`Stage`.
        folder: of ``<id>.npy`` files, or the one pickle of SEC.
        file_format: ``psa`` (also SEAM, EPS), ``irn`` or ``sec``.
        id_list: for ``sec``: the list whose n-th line is image n; the split's by default.
        threshold: fixed background threshold of the reported mIoU.

    >>> stage = STAGES.build(dict(type='ForeignMaps', folder='psa_cams', file_format='psa'))
    >>> stage.name, stage.needs
    ('maps', [])
    """

    SECONDS = 0.02

    def __init__(
        self,
        name: str = 'maps',
        source: str | None = None,
        folder: str = '',
        file_format: str = 'psa',
        id_list: str | None = None,
        threshold: float = 0.15,
    ) -> None:
        super().__init__(name, source, threshold)
        self.folder, self.file_format, self.id_list = folder, file_format, id_list
        self._cues: dict | None = None

    def depends(self, ctx: Context) -> dict[str, str]:
        files = [self.folder, self.id_list] if self.file_format == 'sec' else []
        return {**super().depends(ctx), **{str(path): ctx.digests.of(Path(path)) for path in files if path}}

    def made_from(self, ctx: Context, key: str) -> list[Path]:
        image = [ctx.data.image_path(key)]
        return image if self.file_format == 'sec' else [*image, Path(self.folder, f'{key}.npy')]

    def process(self, ctx: Context, key: str) -> None:
        size = ctx.data.image(key).shape[:2]
        if self.file_format != 'sec':
            path = Path(self.folder, f'{key}.npy')
            stored = read_foreign(path, self.file_format, size, ctx.data.num_classes)
        else:
            if self._cues is None:
                self._cues = read_sec(Path(self.folder))
            order = Path(self.id_list).read_text(encoding='utf-8').split() if self.id_list else ctx.data.ids()
            number = order.index(key)
            if number not in self._cues:
                raise ValueError(f'{self.folder}: no cues of image {number} ({key})')
            labels, cues = self._cues[number]
            stored = ImageMaps(labels, cues[labels + 1].astype(np.float32), size)
        # Only the image's own labels: a foreign file may hold more.
        wanted = np.isin(stored.labels, ctx.data.labels(key))
        if not wanted.any():
            raise ValueError(f'{self.folder}: the maps of {key} are of none of its labels')
        stored.labels, stored.maps = stored.labels[wanted], scale_to_peak(stored.maps[wanted])
        stored.save(self.output(ctx, key))
