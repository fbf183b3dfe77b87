# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Where a network keeps its last map and its linear classifier, found by watching one forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmentropy.ops.mapping.token_maps import Layout, infer_layout

#: Pass-through and pooling modules: their output is not the map one means, or is the same as the one before.
SKIPPED = (nn.Linear, nn.Dropout, nn.Identity, nn.Flatten)


@dataclass
class Anatomy:
    """What the map methods need to know of a model.

    Attributes:
        layer: the module whose output is read as the feature map (None for a dense model: its logits are the maps).
        name: its dotted name.
        classifier: the linear layer that gives the logits, or None where there is none.
        pooling: what stands between map and classifier: ``mean`` (its input is the mean of the map: CAM is exact and
            gradients are known), ``other`` (another pooling, or a norm between), ``tokens`` (it reads a class token).
        channels: D of the map.
        extra_tokens: tokens before the patches, None where not known.
        dense: the model gives a map of logits, (N, C, H, W): a segmentor.
    """

    layer: nn.Module | None
    name: str
    classifier: nn.Linear | None
    pooling: str
    channels: int | None
    extra_tokens: int | None = None
    dense: bool = False

    def to_map(self, output: Tensor, image_size: tuple[int, int]) -> Tensor:
        """The layer's output as (N, D, h, w)."""
        layout = infer_layout(tuple(output.shape), image_size, self.channels, self.extra_tokens)
        if layout is None:
            raise ValueError(
                f'the output {tuple(output.shape)} of layer {self.name!r} is no map of an image of {image_size[0]}x'
                f'{image_size[1]} pixels; name another target_layer'
            )
        return layout.to_map(output)


def last_tensor(output: object) -> Tensor | None:
    """The tensor of a layer's output: itself, or the last one of a tuple (a backbone's stages, deepest last)."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, tuple | list):
        return next((found for item in reversed(output) if (found := last_tensor(item)) is not None), None)
    return None


def with_last_tensor(output: object, tensor: Tensor) -> object:
    """The output with :func:`last_tensor` replaced."""
    if isinstance(output, Tensor):
        return tensor
    items = list(output)
    where = max(i for i, item in enumerate(items) if last_tensor(item) is not None)
    items[where] = with_last_tensor(items[where], tensor)
    return tuple(items) if isinstance(output, tuple) else items


def run(model: nn.Module, images: Tensor) -> Tensor:
    """Raw scores of a batch: (N, C) logits of a classifier, (N, C, H, W) of a segmentor.

    Raises:
        ValueError: when the model gives something else.
    """
    out = model(images)
    if isinstance(out, dict):  # torchvision's segmentation models
        out = out.get('out', out.get('logits'))
    out = out if isinstance(out, Tensor) else last_tensor(out)
    if out is None or out.ndim not in (2, 4):
        found = 'no tensor' if out is None else f'a tensor of shape {tuple(out.shape)}'
        raise ValueError(f'{type(model).__name__} must give (N, C) logits or (N, C, H, W) class maps, it gave {found}')
    return out


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients for the parameters; both restored on the way out, module by module."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@contextmanager
def hooked(handles: list) -> Iterator[None]:
    """Remove hooks on the way out, also after an exception."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _Record:
    name: str
    module: nn.Module
    inputs: Tensor | None
    output: Tensor


def _watch(model: nn.Module, image: Tensor) -> tuple[list[_Record], Tensor]:
    """Every module's first input and output, in the order they finish; with gradients, and the model's own output."""
    records: list[_Record] = []

    def keep(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        found = last_tensor(output)
        if found is not None:
            records.append(_Record(name, module, last_tensor(inputs[:1]), found))

    # Bound by default arguments: a closure would see the loop's last name.
    handles = [
        module.register_forward_hook(lambda m, i, o, name=name: keep(name, m, i, o))
        for name, module in model.named_modules()
        if name
    ]
    with hooked(handles), frozen(model), torch.enable_grad():
        # The image asks for gradients in place of the parameters: whatever it reaches can be asked for its slope.
        logits = run(model, image.detach().clone().requires_grad_(True))
    return records, logits


def _named(model: nn.Module, name: str, what: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        some = [key for key, _ in model.named_modules() if key and key.count('.') <= 1][-8:]
        raise KeyError(
            f'{what}={name!r} names no module of {type(model).__name__}; it has, for example, {", ".join(some)}'
        ) from None


def _extra_tokens(model: nn.Module) -> int | None:
    """Class tokens and registers, where mmpretrain (num_extra_tokens) or timm (num_prefix_tokens) says how many."""
    for module in model.modules():
        for key in ('num_extra_tokens', 'num_prefix_tokens'):
            if isinstance(getattr(module, key, None), int):
                return getattr(module, key)
    return None


def _find_classifier(records: list[_Record], logits: Tensor) -> _Record | None:
    for record in reversed(records):
        if isinstance(record.module, nn.Linear) and record.output.shape == logits.shape:
            return record if torch.equal(record.output, logits) else None
    return None


def _is_pool(record: _Record) -> bool:
    return isinstance(record.module, SKIPPED) or 'Pool' in type(record.module).__name__


def _reached(candidates: list[tuple[_Record, Layout]], vector: Tensor) -> tuple[_Record, Layout] | None:
    """The last candidate whose patches ``vector`` depends on: behind it, only the class token counts."""
    tensors = [record.output for record, _ in candidates]
    # Uneven weights: the plain sum, or sum of squares, of a normalised vector does not depend on anything.
    uneven = torch.arange(1, vector.numel() + 1, device=vector.device, dtype=vector.dtype).cos().view_as(vector)
    slopes = torch.autograd.grad((vector * uneven).sum(), tensors, allow_unused=True, retain_graph=True)
    for (record, layout), slope in reversed(list(zip(candidates, slopes))):
        if slope is not None and layout.to_map(slope).any():
            return record, layout
    return None


def dissect(model: nn.Module, image: Tensor, target_layer: str | None = None, classifier: str | None = None) -> Anatomy:
    """Find the last feature map and the linear classifier of any model.

    The classifier is the last linear layer whose output is the model's. The map is the output of the last layer, before
    it, that is a map of the image with as many channels as the classifier has inputs; where only a class token is read
    afterwards, the last one whose patches have a gradient. Names given by the caller are taken as they are.

    Args:
        model: gives (N, C) logits, or (N, C, H, W) class maps.
        image: (1, 3, H, W) network input.
        target_layer, classifier: dotted names of modules, to override what would be found.

    Raises:
        KeyError: for a name that the model does not have.
        ValueError: when no layer gives a map of the image.
    """
    wanted = None if target_layer is None else _named(model, target_layer, 'target_layer')
    linear = None if classifier is None else _named(model, classifier, 'classifier')
    if linear is not None and not isinstance(linear, nn.Linear):
        raise ValueError(f'classifier={classifier!r} is a {type(linear).__name__}; it must be a linear layer')
    size = tuple(image.shape[2:])
    records, logits = _watch(model, image)
    if logits.ndim == 4:
        return Anatomy(None, '', None, 'mean', None, dense=True)
    head = (
        _find_classifier(records, logits) if linear is None else next((r for r in records if r.module is linear), None)
    )
    extra = _extra_tokens(model)
    before = records[: records.index(head)] if head is not None else records
    width = None if head is None else head.module.in_features
    if wanted is not None:
        found = next((r for r in reversed(records) if r.module is wanted), None)
        layout = None if found is None else infer_layout(tuple(found.output.shape), size, extra_tokens=extra)
        picked = None if layout is None else (found, layout)
    else:
        # What the classifier reads, not its output: a fresh head may be all zeros.
        vector = logits if head is None else head.inputs
        picked = _pick(before, size, width, extra, vector) or _pick(before, size, None, extra, vector)
    if picked is None:
        where = 'no layer' if wanted is None else f'layer {target_layer!r}'
        raise ValueError(
            f'{where} of {type(model).__name__} gives a map of an image of {size[0]}x{size[1]} pixels; '
            'name the layer whose output is a feature map as target_layer'
        )
    record, layout = picked
    head_linear = None if head is None or layout.channels != width else head.module
    pooled = layout.to_map(record.output).mean((2, 3)).detach()
    pooling = 'tokens' if layout.extra_tokens else 'other'
    if head_linear is not None and _same(head.inputs, pooled):
        pooling = 'mean'
    elif head is None and _same(logits, pooled):  # the map's channels are the classes (SqueezeNet)
        pooling, head_linear = 'mean', _identity(pooled)
    hint = layout.extra_tokens if layout.kind == 'tokens' else None
    return Anatomy(record.module, record.name, head_linear, pooling, layout.channels, hint)


def _same(vector: Tensor, pooled: Tensor) -> bool:
    return vector.shape == pooled.shape and torch.allclose(vector.detach(), pooled, rtol=1e-4, atol=1e-5)


def _identity(pooled: Tensor) -> nn.Linear:
    """The linear layer that changes nothing."""
    linear = nn.Linear(pooled.shape[1], pooled.shape[1], bias=False).to(pooled).requires_grad_(False)
    nn.init.eye_(linear.weight)
    return linear


def _pick(
    records: list[_Record], size: tuple[int, int], channels: int | None, extra: int | None, vector: Tensor
) -> tuple[_Record, Layout] | None:
    """The last map among the records; see :func:`dissect`."""
    found = []
    for record in records:
        layout = None
        if record.output.is_floating_point() and record.output.ndim in (3, 4) and not _is_pool(record):
            layout = infer_layout(tuple(record.output.shape), size, channels, extra)
        if layout is not None:
            found.append((record, layout))
    # A vector behind the pooling may be kept as a 1x1 map; it is the map only where no layer gives a larger one.
    found = [pair for pair in found if pair[1].size != (1, 1)] or found
    if not found:
        return None
    return _reached(found, vector) if found[-1][1].extra_tokens else found[-1]
