# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A backbone whose last output is a map: set so by its options, read channels first, or refused in a sentence."""

from __future__ import annotations

from functools import partial

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmentropy.explain.anatomy import declared_tokens
from mmentropy.explain.watching import frozen, last_tensor, with_last_tensor
from mmentropy.ops.mapping.token_maps import Layout, infer_layout
from mmentropy.registry import MODELS

#: Options of mmpretrain's backbones that decide whether they pool, and the value that gives the map.
MAP_OPTIONS = {'out_type': 'featmap', 'gap_before_final_norm': False, 'reshape_last_feat': True}

#: Sides of the square images that are tried.
SIZES = (64, 224, 256, 384, 192, 32)


def map_backbone(backbone: dict | nn.Module) -> nn.Module:
    """Build a backbone that gives its last output as a map (N, D, h, w).

    Where it would pool, or give a class token, and has an option to give the map instead (:data:`MAP_OPTIONS`), that
    option is set, and the log says so. Channels-last maps and tokens are turned by a forward hook, so that names and
    state dict stay the backbone's own.

    Args:
        backbone: its config, or itself.

    Raises:
        ValueError: when its last output is no map and no option changes that.
    """
    model = backbone if isinstance(backbone, nn.Module) else MODELS.build(backbone)
    layout, output = read_last(model)
    options = {key: value for key, value in MAP_OPTIONS.items() if getattr(model, key, value) != value}
    if output is not None and layout is None and options and not isinstance(backbone, nn.Module):
        print_log(f'{type(model).__name__} pools its last map; built with {options} it gives it', logger='current')
        model = MODELS.build(with_options(backbone, options))
        layout, output = read_last(model)
    if output is not None and layout is None:
        advice = ' or '.join(f'{key}={value!r}' for key, value in options.items())
        raise ValueError(
            f'{type(model).__name__} gives {tuple(output.shape)} last, which is no map of its image; '
            + (f'build it with {advice}' if advice else 'none of its options gives one: take another backbone')
        )
    if layout is not None and layout.kind != 'nchw':
        model.register_forward_hook(partial(_turn, kind=layout.kind, extra_tokens=layout.extra_tokens))
    return model


def with_options(config: dict, options: dict) -> dict:
    """A backbone's config, or the one inside ``EnlargedBackbone``, with some options set."""
    if isinstance(config.get('backbone'), dict):
        return {**config, 'backbone': with_options(config['backbone'], options)}
    return {**config, **options}


def last_channels(backbone: nn.Module) -> int:
    """Channels of what the backbone gives last: its ``feat_dim`` where it has one, else read off a small image.

    Raises:
        ValueError: when it takes none of the images that are tried.
    """
    if isinstance(getattr(backbone, 'feat_dim', None), int):
        return backbone.feat_dim
    layout, output = read_last(backbone)
    if output is None:
        raise ValueError(
            f'{type(backbone).__name__} takes no image of {", ".join(map(str, SIZES))} pixels; '
            'say how many channels it gives: head=dict(in_channels=...)'
        )
    return output.shape[1] if layout is None else layout.channels


def read_last(backbone: nn.Module) -> tuple[Layout | None, Tensor | None]:
    """How the last output is read as a map (None where it is none), and itself on zeros (None where it takes none)."""
    first = next((module for module in backbone.modules() if isinstance(module, nn.Conv2d)), None)
    channels = 3 if first is None else first.in_channels
    device = next((parameter.device for parameter in backbone.parameters()), None)
    found: tuple[Layout | None, Tensor | None] = (None, None)
    for size in _sizes(backbone):  # a map of one location may have more in a larger image
        try:
            with frozen(backbone), torch.no_grad():
                output = last_tensor(backbone(torch.zeros(1, channels, *size, device=device)))
        except Exception:  # anybody's network, and each says in its own way that the size does not suit it
            continue
        if output is None:
            break
        shape, extra = tuple(output.shape), declared_tokens(backbone)
        layout = infer_layout(shape, size, getattr(backbone, 'embed_dims', None), extra)
        layout = layout or infer_layout(shape, size, None, extra)
        found = layout, output
        if layout is None or layout.size != (1, 1):
            break
    return found


def _sizes(backbone: nn.Module) -> list[tuple[int, int]]:
    """A small image, the size that the backbone or its patch embedding says it takes, and :data:`SIZES`."""
    sizes = [(size, size) for size in SIZES]
    declared = next((m.img_size for m in backbone.modules() if getattr(m, 'img_size', None) is not None), None)
    declared = (declared, declared) if isinstance(declared, int) else declared
    return sizes if declared is None else [sizes[0], tuple(declared), *sizes[1:]]


def _turn(module: nn.Module, inputs: tuple[Tensor, ...], output: object, kind: str, extra_tokens: int) -> object:
    """The last output as (N, D, h, w)."""
    last = last_tensor(output)
    layout = infer_layout(tuple(last.shape), tuple(inputs[0].shape[2:]), None, extra_tokens, kind)
    if layout is None:
        raise ValueError(
            f'{type(module).__name__} gives {tuple(last.shape)} for images of {tuple(inputs[0].shape[2:])} pixels, '
            'which cannot be read as a map'
        )
    return with_last_tensor(output, layout.to_map(last))
