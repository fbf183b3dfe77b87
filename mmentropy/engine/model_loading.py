# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A network from a config, a model name or a module, and what its inputs look like."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mmentropy.structures import height_and_width

from .devices import usable_device
from .startup import load_config

#: Transforms that decide the size of a network's inputs.
SIZING = ('CenterCrop', 'Resize', 'ResizeEdge', 'RandomCrop', 'RandomResizedCrop')
#: An input has at least so many pixels a side, whatever the image's proportions.
MIN_SIDE = 32
#: ``ResizeEdge`` names one side only: the other one becomes at most so many times as long.
MAX_RATIO = 8
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class LoadedModel:
    """A network ready for images.

    Attributes:
        model: in evaluation mode, on its device.
        size: (height, width) of its inputs, in pixels; with ``keep_ratio`` the limits of the shorter and the longer
            side, in any order.
        keep_ratio: each image keeps its proportions, as large as fits into ``size``.
        classes: names of the classes, where known.
        mean, std: of RGB in [0, 1], for networks without a ``data_preprocessor`` of their own.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    >>> loaded = LoadedModel(model, size=(32, 32), classes=('cat', 'dog'))
    >>> loaded.scores(torch.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    model: nn.Module
    size: tuple[int, int] = (224, 224)
    classes: tuple[str, ...] | None = None
    mean: Sequence[float] = field(default=IMAGENET_MEAN)
    std: Sequence[float] = field(default=IMAGENET_STD)
    keep_ratio: bool = False

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.model.parameters()), torch.device('cpu'))

    @property
    def multi_label(self) -> bool:
        """Whether the head's scores are sigmoids: a ``CAMHead(multi_label=True)``, or one of mmpretrain's own."""
        head = getattr(self.model, 'head', None)
        return bool(getattr(head, 'multi_label', False)) or 'MultiLabel' in type(head).__name__

    def scores(self, logits: Tensor) -> Tensor:
        """Probabilities (N, C) from logits."""
        return logits.sigmoid() if self.multi_label else logits.softmax(1)

    def fix_size(self, size: int | Sequence[int]) -> None:
        """Resize every image to a side, or to (height, width), whatever its proportions."""
        self.size, self.keep_ratio = height_and_width(size), False

    def input_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        r"""(height, width) of the network's input for an image of (height, width) pixels.

        With ``keep_ratio`` as OpenMMLab's ``Resize``: both sides times
        :math:`\min(\max(size)/longer, \min(size)/shorter)`. Rounded to what the preprocessor would pad to (a
        ``size_divisor``), so that nothing is padded and maps cover the image, no more.
        """
        sides = self.size
        if self.keep_ratio:
            factor = min(max(self.size) / max(image_size), min(self.size) / min(image_size))
            height, width = (max(MIN_SIDE, int(side * factor + 0.5)) for side in image_size)
            sides = (height, width)
        step = _pad_divisor(getattr(self.model, 'data_preprocessor', None))
        return max(step, round(sides[0] / step) * step), max(step, round(sides[1] / step) * step)

    def example(self) -> Tensor:
        """One input (1, 3, h, w) of zeros: that of a square image."""
        return torch.zeros(1, 3, *self.input_size((MIN_SIDE, MIN_SIDE)), device=self.device)

    def each(self, images: Sequence[np.ndarray], read: Callable[[Tensor], Iterable]) -> list[Any]:
        """What ``read`` gives for each image, in their order; images whose inputs have one size share a batch.

        Args:
            images: RGB, (H, W, 3) uint8 of any sizes.
            read: from network inputs (N, 3, h, w) to N results.
        """
        results: dict[int, Any] = {}
        for indices in self.groups(images):
            results |= zip(indices, read(self.inputs([images[i] for i in indices])))
        return [results[i] for i in range(len(images))]

    def groups(self, images: Sequence[np.ndarray]) -> list[list[int]]:
        """The numbers of the images whose inputs have one size, for each size."""
        groups: dict[tuple[int, int], list[int]] = {}
        for i, image in enumerate(images):
            groups.setdefault(self.input_size(image.shape[:2]), []).append(i)
        return list(groups.values())

    def inputs(self, images: Sequence[np.ndarray]) -> Tensor:
        """RGB images as one batch of network inputs (N, 3, h, w): the whole image, resized to its :meth:`input_size`.

        Nothing is cropped, so that maps cover the whole image (the WSOL protocol's resizing, too).

        Raises:
            ValueError: for images whose inputs have several sizes (:meth:`each` takes those), or a preprocessor that
                pads.
        """
        sizes = {self.input_size(image.shape[:2]) for image in images}
        if len(sizes) > 1:
            raise ValueError(f'one batch has inputs of one size, got {sorted(sizes)}; read images of several by each()')
        ((height, width),) = sizes
        resized = []
        for image in images:
            shrinks = image.shape[0] > height or image.shape[1] > width
            way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            resized.append(cv2.resize(image, (width, height), interpolation=way))
        batch = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()
        if hasattr(self.model, 'data_preprocessor'):
            # OpenMMLab's readers give BGR; the preprocessor turns it round, or not, as the model was trained.
            preprocessor: Any = self.model.data_preprocessor
            data: dict[str, Any] = {'inputs': list(batch.flip(1))}
            if getattr(preprocessor, 'test_cfg', None):  # mmseg's notes on the samples what it pads
                data['data_samples'] = _empty_samples(len(batch))
            inputs = preprocessor(data)['inputs']
            if tuple(inputs.shape[2:]) != (height, width):
                padded = f'{inputs.shape[2]}×{inputs.shape[3]}'
                raise ValueError(
                    f'{type(preprocessor).__name__} pads inputs of {height}×{width} to {padded}, so that maps would '
                    f'cover more than the image; set the input size to {padded}'
                )
            return inputs
        batch = batch.to(self.device, torch.float32) / 255
        mean, std = (torch.tensor(v, device=self.device).view(3, 1, 1) for v in (self.mean, self.std))
        return (batch - mean) / std


def load_model(
    model: nn.Module | str | Path | object,
    weights: str | Path | None = None,
    device: str | torch.device | None = None,
    trust_checkpoint: bool = False,
    random_weights: bool = False,
) -> LoadedModel:
    """Build a network and read its input size and classes.

    Args:
        model: a module; the path of a config of mmentropy, mmpretrain or mmsegmentation; a ``Config``; or the name of
            an mmpretrain model.
        weights: checkpoint or state dict, a file or an address; ``'pretrained'`` takes those that mmpretrain publishes
            for a model's name. A module brings its own.
        device: None takes the module's own, or the GPU where there is one.
        trust_checkpoint: allow a checkpoint to hold arbitrary pickled objects, which may run code.
        random_weights: build a config or a name without weights all the same, with the random ones that it starts from.

    Raises:
        FileNotFoundError: when config or weights do not exist.
        ValueError: when the weights do not fit, or there are none.
    """
    classes = None
    if isinstance(model, nn.Module):
        network, config = model, getattr(model, '_config', None)
    else:
        source, told = _source(model)
        if weights is None and not random_weights:
            raise ValueError(
                f'{told}: without weights every number would be random; name a checkpoint (weights, --weights), or say '
                'random_weights=True (--random-weights)'
            )
        network = _build(source, weights == 'pretrained', told)
        config = getattr(network, '_config', None) if isinstance(source, str) else source
        device = usable_device(device)
    if weights is not None and weights != 'pretrained':
        classes = _load_weights(network, str(weights), trust_checkpoint)
    network = network.eval() if device is None else network.to(usable_device(device)).eval()
    meta = getattr(network, 'dataset_meta', None) or getattr(network, '_dataset_meta', None) or {}
    names = classes or meta.get('classes') or imagenet_names(network)
    loaded = LoadedModel(network, classes=tuple(names or ()) or None)
    timm_config = getattr(network, 'pretrained_cfg', None)
    if timm_config and timm_config.get('input_size'):
        loaded.size = tuple(timm_config['input_size'][1:])
        loaded.mean, loaded.std = timm_config.get('mean', IMAGENET_MEAN), timm_config.get('std', IMAGENET_STD)
    loaded.size, loaded.keep_ratio = _pipeline_size(config) or (_own_size(network) or loaded.size, False)
    return loaded


def imagenet_names(network: nn.Module) -> tuple[str, ...] | None:
    """The class names of a torchvision or timm network with ImageNet's 1 000 outputs, from the host's list, else None.

    The names say what outputs of that number mean in these libraries; a network of theirs that was trained on another
    set of 1 000 classes brings its own through its checkpoint.

    >>> from torchvision.models import resnet18
    >>> imagenet_names(resnet18())[1], imagenet_names(resnet18(num_classes=10))
    ('goldfish', None)
    """
    if type(network).__module__.partition('.')[0] not in ('torchvision', 'timm'):
        return None
    outputs = [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]
    if outputs[-1:] != [1000]:
        return None
    from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

    short = [name.partition(',')[0] for name in IMAGENET_CATEGORIES]
    # A bird and a machine are both called crane.
    return tuple(name if short.count(name) == 1 else f'{name} ({i})' for i, name in enumerate(short))


def _empty_samples(count: int) -> list[Any]:
    from mmengine.structures import BaseDataElement

    return [BaseDataElement() for _ in range(count)]


def _pad_divisor(preprocessor: Any) -> int:
    """Of what number the sides of an input are multiples in testing: mmseg's and mmpretrain's preprocessors pad."""
    test = getattr(preprocessor, 'test_cfg', None) or {}
    return int(test.get('size_divisor') or getattr(preprocessor, 'pad_size_divisor', 1) or 1)


def _source(model: Any) -> tuple[Any, str]:
    """A config, read, or the name of an mmpretrain model that there is; and how to call it in a message."""
    from mmentropy.hosts import require_hosts

    require_hosts()
    if not isinstance(model, str | Path):
        return model, str(getattr(model, 'filename', None) or 'the config')
    if str(model).endswith(('.py', '.yml', '.yaml', '.json')):
        return load_config(str(model)), str(model)
    from mmpretrain import ModelHub

    try:
        ModelHub.get(str(model))
    except ValueError:
        raise ValueError(
            f'{str(model)!r} is neither a config file nor the name of an mmpretrain model; '
            'mmpretrain.list_models() names those'
        ) from None
    return str(model), str(model)


def _build(source: Any, pretrained: bool, told: str) -> nn.Module:
    """The network of a config, or of an mmpretrain model's name, with the weights published for that name."""
    from mmengine.registry import MODELS, DefaultScope

    if isinstance(source, str):
        from mmpretrain import ModelHub, get_model

        if pretrained and ModelHub.get(source).weights is None:
            raise ValueError(f'{told}: mmpretrain publishes no weights of this model; name a checkpoint')
        return get_model(source, pretrained=pretrained)
    if pretrained:
        raise ValueError(f"{told}: 'pretrained' weights belong to a model's name; with a config name a checkpoint")
    settings = copy.deepcopy(dict(source.model))  # building takes keys out of nested settings, and sets defaults
    if source.get('data_preprocessor') is not None:
        settings.setdefault('data_preprocessor', copy.deepcopy(source.data_preprocessor))
    with DefaultScope.overwrite_default_scope(source.get('default_scope', 'mmpretrain')):
        return MODELS.build(settings)


def _load_weights(network: nn.Module, weights: str, trust: bool) -> tuple[str, ...] | None:
    """Load a checkpoint; the class names that it carries, if any."""
    from mmengine.runner import CheckpointLoader

    from mmentropy.engine.checkpoint import trust_checkpoints

    if '://' not in weights and not Path(weights).is_file():
        raise FileNotFoundError(f'{weights}: no such checkpoint')
    trust_checkpoints(trust)
    try:
        checkpoint = CheckpointLoader.load_checkpoint(weights, map_location='cpu')
    except (OSError, ValueError):  # a download that failed, a damaged file: in one sentence
        raise
    except Exception as error:
        raise ValueError(
            f'{weights}: the checkpoint cannot be read as plain data ({str(error).splitlines()[0]}); '
            'if you trust its author, allow pickled objects with trust_checkpoint'
        ) from error
    state = checkpoint.get('state_dict', checkpoint.get('model', checkpoint))
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(
            f'{weights}: the weights do not fit the model ({str(error).splitlines()[1].strip()})'
        ) from None
    missing = [key for key in missing if not key.endswith('num_batches_tracked')]
    if missing:
        raise ValueError(
            f"{weights}: {len(missing)} of the model's parameters are not in the checkpoint, for example {missing[0]}"
        )
    if unexpected:
        warnings.warn(f'{weights}: {len(unexpected)} entries were not used, for example {unexpected[0]}', stacklevel=3)
    meta = checkpoint.get('meta', {}).get('dataset_meta') or {} if 'state_dict' in checkpoint else {}
    return meta.get('classes') or meta.get('CLASSES')


def _pipeline_size(config: Any) -> tuple[tuple[int, int], bool] | None:
    """(height, width) that a config's network sees, and whether images keep their proportions in it.

    What the test pipeline ends with, else the training one's crop.

    A set whose images have one size (64 pixels, say) needs no resizing in its test pipeline; its training crops tell.
    """
    for split in ('test', 'val', 'train'):
        loader = None if config is None else config.get(f'{split}_dataloader')
        dataset = {} if loader is None else loader.get('dataset', {})
        steps = list(dataset.get('pipeline') or ())
        while 'dataset' in dataset:  # wrappers: repeat, mosaics
            dataset = dataset['dataset']
            steps = [*(dataset.get('pipeline') or ()), *steps]
        size, keep_ratio = None, False
        for step in steps:
            kind = str(step.get('type', '')).rsplit('.', 1)[-1]
            if kind in SIZING and (given := step.get('crop_size', step.get('scale'))):
                # Scales are (width, height) in OpenMMLab; crop sizes are (height, width).
                pair = (given, given) if isinstance(given, int) else tuple(given)
                size, keep_ratio = pair if 'crop_size' in step else pair[::-1], bool(step.get('keep_ratio'))
                if kind == 'ResizeEdge' and step.get('edge', 'short') in ('short', 'long'):
                    limit = given * MAX_RATIO if step.get('edge', 'short') == 'short' else given
                    size, keep_ratio = (given, limit), True
        if size is not None:
            return size, keep_ratio
    return None


def _own_size(network: nn.Module) -> tuple[int, int] | None:
    """The size that a vision transformer was built for."""
    for part in (network, getattr(network, 'backbone', None)):
        for key in ('img_size', 'image_size'):
            size = getattr(part, key, None)
            if isinstance(size, int) or (isinstance(size, tuple | list) and len(size) == 2):
                return (size, size) if isinstance(size, int) else tuple(size)
    return None
