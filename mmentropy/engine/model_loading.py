# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A network from a config, a model name or a module, and what its inputs look like."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

#: Transforms that decide the size of a network's inputs.
SIZING = ('CenterCrop', 'Resize', 'ResizeEdge', 'RandomCrop', 'RandomResizedCrop')
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class LoadedModel:
    """A network ready for images.

    Attributes:
        model: in evaluation mode, on its device.
        size: (height, width) of its inputs, in pixels.
        classes: names of the classes, where known.
        mean, std: of RGB in [0, 1], for networks without a ``data_preprocessor`` of their own.
    """

    model: nn.Module
    size: tuple[int, int] = (224, 224)
    classes: tuple[str, ...] | None = None
    mean: Sequence[float] = field(default=IMAGENET_MEAN)
    std: Sequence[float] = field(default=IMAGENET_STD)

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

    def inputs(self, images: Sequence[np.ndarray]) -> Tensor:
        """RGB images of any size as one batch of network inputs (N, 3, h, w): the whole image, resized to ``size``.

        Nothing is cropped, so that maps cover the whole image (the WSOL protocol's resizing, too).
        """
        height, width = self.size
        resized = []
        for image in images:
            shrinks = image.shape[0] > height or image.shape[1] > width
            way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            resized.append(cv2.resize(image, (width, height), interpolation=way))
        batch = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).contiguous()
        if hasattr(self.model, 'data_preprocessor'):
            # OpenMMLab's readers give BGR; the preprocessor turns it round, or not, as the model was trained.
            preprocessor: Any = self.model.data_preprocessor
            return preprocessor({'inputs': list(batch.flip(1))})['inputs']
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
        device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    if weights is not None and weights != 'pretrained':
        classes = _load_weights(network, str(weights), trust_checkpoint)
    network = network.eval() if device is None else network.to(device).eval()
    meta = getattr(network, 'dataset_meta', None) or getattr(network, '_dataset_meta', None) or {}
    loaded = LoadedModel(network, classes=tuple(classes or meta.get('classes') or ()) or None)
    timm_config = getattr(network, 'pretrained_cfg', None)
    if timm_config and timm_config.get('input_size'):
        loaded.size = tuple(timm_config['input_size'][1:])
        loaded.mean, loaded.std = timm_config.get('mean', IMAGENET_MEAN), timm_config.get('std', IMAGENET_STD)
    loaded.size = _pipeline_size(config) or _own_size(network) or loaded.size
    return loaded


def _source(model: Any) -> tuple[Any, str]:
    """A config, read, or the name of an mmpretrain model that there is; and how to call it in a message."""
    from mmentropy.hosts import require_hosts

    require_hosts()
    from mmengine.config import Config

    if not isinstance(model, str | Path):
        return model, str(getattr(model, 'filename', None) or 'the config')
    if str(model).endswith(('.py', '.yml', '.yaml', '.json')):
        if not Path(model).is_file():
            raise FileNotFoundError(f'{model}: no such config file')
        return Config.fromfile(model), str(model)
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
    settings = dict(source.model)
    if source.get('data_preprocessor') is not None:
        settings.setdefault('data_preprocessor', source.data_preprocessor)
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
        found = CheckpointLoader.load_checkpoint(weights, map_location='cpu')
    except Exception as error:
        raise ValueError(
            f'{weights}: the checkpoint cannot be read as plain data ({str(error).splitlines()[0]}); '
            'if you trust its author, allow pickled objects with trust_checkpoint'
        ) from error
    state = found.get('state_dict', found.get('model', found))
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
    meta = found.get('meta', {}).get('dataset_meta') or {} if 'state_dict' in found else {}
    return meta.get('classes') or meta.get('CLASSES')


def _pipeline_size(config: Any) -> tuple[int, int] | None:
    """(height, width) that a config's network sees: what the test pipeline ends with, else the training one's crop.

    A set whose images have one size (64 pixels, say) needs no resizing in its test pipeline; its training crops tell.
    """
    for split in ('test', 'val', 'train'):
        loader = None if config is None else config.get(f'{split}_dataloader')
        dataset = {} if loader is None else loader.get('dataset', {})
        steps = list(dataset.get('pipeline') or ())
        while 'dataset' in dataset:  # wrappers: repeat, mosaics
            dataset = dataset['dataset']
            steps = [*(dataset.get('pipeline') or ()), *steps]
        size = None
        for step in steps:
            kind = str(step.get('type', '')).rsplit('.', 1)[-1]
            if kind in SIZING and (found := step.get('crop_size', step.get('scale'))):
                # Scales are (width, height) in OpenMMLab; crop sizes are (height, width).
                pair = (found, found) if isinstance(found, int) else tuple(found)
                size = pair if 'crop_size' in step else pair[::-1]
        if size is not None:
            return size
    return None


def _own_size(network: nn.Module) -> tuple[int, int] | None:
    """The size that a vision transformer was built for."""
    for part in (network, getattr(network, 'backbone', None)):
        for key in ('img_size', 'image_size'):
            found = getattr(part, key, None)
            if isinstance(found, int) or (isinstance(found, tuple | list) and len(found) == 2):
                return (found, found) if isinstance(found, int) else tuple(found)
    return None
