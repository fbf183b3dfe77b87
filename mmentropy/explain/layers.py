# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Layers beside the last map: the deepest one of a segmentor, and one for each size of map."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .anatomy import Anatomy, Candidate, candidates_of, dissect, see


@torch.inference_mode(False)
@torch.enable_grad()
def _read_candidates(model: nn.Module, image: Tensor) -> tuple[list[Candidate], Tensor]:
    """The layers whose output is a map of the image that counts for the model's output, and that output."""
    seen = see(model, image, None)
    listed = [candidate for candidate in candidates_of(seen) if candidate.record.output.requires_grad]
    slopes = torch.autograd.grad(seen.score, [c.record.output for c in listed], allow_unused=True)
    found = []
    for candidate, slope in zip(listed, slopes):
        if slope is None or not candidate.layout.to_map(slope).any():
            continue
        output = candidate.record.output
        if output.shape != seen.logits.shape or not torch.equal(output, seen.logits):  # else the output itself
            found.append(candidate)
    return found, seen.logits


def _before_classes(candidates: list[Candidate], classes: int) -> list[Candidate]:
    """Without the layers that already give a score a class, where there are others."""
    return [candidate for candidate in candidates if candidate.layout.channels != classes] or candidates


def _outermost(candidates: Sequence[Candidate]) -> Candidate:
    """The last of those that stand highest in the tree of modules: a stage, not a layer inside one of its blocks."""
    depth = min(candidate.record.name.count('.') for candidate in candidates)
    return [candidate for candidate in candidates if candidate.record.name.count('.') == depth][-1]


def _area(candidate: Candidate) -> int:
    return candidate.layout.size[0] * candidate.layout.size[1]


def _as_anatomy(candidate: Candidate, dense: bool) -> Anatomy:
    record, layout = candidate.record, candidate.layout
    extra = layout.extra_tokens if layout.kind == 'tokens' else None
    return Anatomy(record.module, record.name, None, 'other', layout.channels, extra, dense, layout.kind)


def deepest_layer(model: nn.Module, image: Tensor, target_layer: str | None = None) -> Anatomy:
    """The layer by which a segmentor's scores are explained: its smallest map; of a ``backbone``, where it has one.

    Args:
        model: gives (N, C, H, W) logits.
        image: (1, 3, H, W) network input; its size counts.
        target_layer: dotted name, to override what would be found.

    Raises:
        KeyError: for a name that the model does not have.
        ValueError: when no layer before the logits gives a map of the image.

    >>> layers = nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.Upsample(scale_factor=4)
    >>> deepest_layer(nn.Sequential(*layers), torch.rand(1, 3, 32, 32)).name
    '1'
    """
    found, logits = _read_candidates(model, image)
    if target_layer is not None:
        try:
            module = model.get_submodule(target_layer)
        except AttributeError:
            some = ', '.join(candidate.record.name for candidate in found[-8:])
            raise KeyError(
                f'target_layer={target_layer!r} names no module of {type(model).__name__}; it has, for example, {some}'
            ) from None
        found = [candidate for candidate in found if candidate.record.module is module]
    else:
        inside = [candidate for candidate in found if re.match(r'(.*\.)?backbone(\.|$)', candidate.record.name)]
        found = inside or _before_classes(found, logits.shape[1])
        smallest = min(map(_area, found), default=0)
        found = [candidate for candidate in found if _area(candidate) == smallest]
    if not found:
        where = 'no layer' if target_layer is None else f'layer {target_layer!r}'
        raise ValueError(
            f'{where} of {type(model).__name__} before its class maps {tuple(logits.shape)} gives a map of an image of '
            f'{image.shape[2]}x{image.shape[3]} pixels by which they could be explained; use CAM or EntropyMap, or '
            'name another target_layer'
        )
    return _as_anatomy(_outermost(found), dense=True)


def layers_of_every_size(model: nn.Module, image: Tensor, count: int) -> list[Anatomy]:
    """The last layers of the smallest sizes of map, deepest first: the stages of a convolutional network.

    Where all maps have one size (a transformer), the namesakes of the last map's layer in blocks at even distances.

    Args:
        model: any network.
        image: (1, 3, H, W) network input; its size counts.
        count: how many at most.

    Returns:
        at least one.

    >>> layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    >>> model = nn.Sequential(*layers, nn.Linear(8, 5))
    >>> [layer.name for layer in layers_of_every_size(model, torch.rand(1, 3, 16, 16), count=3)]
    ['2', '1']
    """
    found, logits = _read_candidates(model, image)
    dense = logits.ndim == 4
    last = deepest_layer(model, image) if dense else dissect(model, image)
    sizes = sorted({candidate.layout.size for candidate in found}, key=lambda size: size[0] * size[1])
    if len(sizes) > 1:
        chosen = [_outermost([c for c in found if c.layout.size == size]) for size in sizes[:count]]
        return [_as_anatomy(candidate, dense) for candidate in chosen]
    blocks = max((_namesakes(last, found, number) for number in re.finditer(r'\d+', last.name)), key=len, default=[])
    if len(blocks) < 2:
        return [last]
    places = [round((len(blocks) - 1) * (i + 1) / count) for i in range(count)]
    return [_as_anatomy(blocks[place], dense) for place in sorted(set(places), reverse=True)]


def _namesakes(layer: Anatomy, candidates: Sequence[Candidate], number: re.Match) -> list[Candidate]:
    """Layers of one kind whose names differ in this number only: the same layer in other blocks."""
    pattern = re.escape(layer.name[: number.start()]) + r'\d+' + re.escape(layer.name[number.end() :])
    alike = [candidate for candidate in candidates if type(candidate.record.module) is type(layer.layer)]
    return [candidate for candidate in alike if re.fullmatch(pattern, candidate.record.name)]


def named_layers(model: nn.Module, image: Tensor, names: Sequence[str]) -> list[Anatomy]:
    """These layers, as they are read as maps.

    Raises:
        KeyError: for a name that the model does not have.
        ValueError: for a layer that gives no map.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    >>> [layer.channels for layer in named_layers(model, torch.rand(1, 3, 16, 16), ['0'])]
    [8]
    """
    if dissect(model, image).dense:
        return [deepest_layer(model, image, name) for name in names]
    return [dissect(model, image, name) for name in names]
