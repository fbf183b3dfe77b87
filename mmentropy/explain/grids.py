# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The grid of any network's map: followed where that can be done, else measured, else half-pixel with a sentence."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid

from .anatomy import Anatomy, dissect
from .following import as_map, fit_grid, follow
from .watching import frozen, hooked, last_tensor, run

#: Where maps may be drawn.
GRIDS = ('followed', 'measured', 'half_pixel')
#: Images whose gradients tell where a trained network looks.
MEASURED_IMAGES = 8
#: Random signs of the channels whose gradients are squared: as many backward passes a location.
PROBES = 2

_cache: WeakKeyDictionary[nn.Module, dict[tuple, MapGrid | None]] = WeakKeyDictionary()


def check_grid(grid: str) -> str:
    """One of :data:`GRIDS`.

    Raises:
        ValueError: for another one.
    """
    if grid not in GRIDS:
        raise ValueError(f'grid must be one of {", ".join(GRIDS)}, got {grid!r}')
    return grid


def find_grid(model: nn.Module, layer: Anatomy | str | None, image: Tensor, grid: str = 'followed') -> MapGrid | None:
    """Where the locations of a layer look, for images of this size.

    One forward pass is followed (see :mod:`.following`). A network whose code cannot be followed is measured on this
    image; where neither is sure, maps are drawn half-pixel, and a warning says so. What was found is kept as long as
    the model lives, for each layer and size.

    Args:
        model: any network.
        layer: its :class:`~.anatomy.Anatomy`, the dotted name of a layer, or None for the last map.
        image: (N, 3, H, W) network input; the first one is used (all of them where the grid is ``measured``).
        grid: ``followed``; ``measured`` by the gradients of the weights as they are, not kept, as weights change; or
            ``half_pixel``, the field's drawing.

    Returns:
        The grid, or None for half-pixel.

    Raises:
        ValueError: for another ``grid``.
    """
    if check_grid(grid) == 'half_pixel':
        return HALF_PIXEL
    # What is computed in inference mode can neither be followed nor has gradients; a copy outside of it can and has.
    with torch.inference_mode(False):
        return _found_grid(model, layer, image.clone() if image.is_inference() else image, grid)


def _found_grid(model: nn.Module, layer: Anatomy | str | None, image: Tensor, grid: str) -> MapGrid | None:
    known, size = _cache.setdefault(model, {}), tuple(image.shape[2:])
    # Dissecting is a pass through the network: a layer that the caller names is looked for once for each size.
    module = dict(model.named_modules()).get(layer) if isinstance(layer, str) else None
    if module is not None and grid != 'measured' and (layer, id(module), size) in known:
        return known[layer, id(module), size]
    anatomy = layer if isinstance(layer, Anatomy) else dissect(model, image[:1], layer)
    if grid == 'measured':
        return measured_grid(model, anatomy, image)
    key = (anatomy.name, id(anatomy.layer), size) if module is None else (layer, id(module), size)
    if key not in known:
        known[key] = _find(model, anatomy, image[:1])
    return known[key]


def _find(model: nn.Module, anatomy: Anatomy, image: Tensor) -> MapGrid | None:
    grid, notes = follow(model, anatomy, image)
    name = f'{type(model).__name__}, layer {anatomy.name!r}' if anatomy.name else type(model).__name__
    if grid is None:
        grid = measured_grid(model, anatomy, image)
        notes.append(
            'its grid was measured by gradients'
            if grid is not None
            else 'gradients do not tell either, so its maps are drawn half-pixel'
        )
    if notes:
        warnings.warn(f'{name}: {"; ".join(notes)}', stacklevel=4)
    return grid


def measured_grid(
    model: nn.Module,
    layer: Anatomy | str | None,
    images: Tensor,
    power: int = 2,
    block: int = 3,
    like: MapGrid | None = None,
) -> MapGrid | None:
    r"""The grid by the gradients of interior locations: what the network, with its weights, looks at.

    Location j looks at the centroid of :math:`\sum_n \sum_c |\partial f_{jc} / \partial x_n|^{power}` over images *n*
    and channels *c*. With power 2 the sum of squares over the channels is estimated by random signs
    (:math:`E[(\sum_c r_c g_c)^2] = \sum_c g_c^2`); with power 1 the slope of the channels' sum is taken, exact for
    kernels that are positive throughout. Only the middle of the map is measured: near the border the image ends before
    the receptive field does, which draws the centroid inwards.

    Args:
        model: any network.
        layer: as in :func:`find_grid`.
        images: (N, 3, H, W) network inputs: a few real ones for a trained network.
        power: 1 or 2.
        block: rows and columns in the middle of the map that are measured.
        like: take the step of this grid, and only measure the start. Receptive fields that are larger than the image
            make a measured step too small.

    Returns:
        The grid; None where the centroids are no grid, or its step is not that of a map of this size within a half.

    Source: effective receptive fields, after Luo et al., "Understanding the effective receptive field in deep
    convolutional neural networks" (NeurIPS 2016).
    """
    if power not in (1, 2):
        raise ValueError(f'power must be 1 or 2, got {power}')
    anatomy = layer if isinstance(layer, Anatomy) else dissect(model, images[:1], layer)
    size = (images.shape[2], images.shape[3])
    inputs = images.detach().clone().requires_grad_(True)
    with frozen(model), torch.enable_grad():
        features = _features(model, anatomy, inputs)
        h, w = features.shape[2:]
        y, x = np.full((h, w), np.nan), np.full((h, w), np.nan)
        rows, columns = (range(max(0, (n - block) // 2), min(n, (n - block) // 2 + block)) for n in (h, w))
        for i in rows:
            for j in columns:
                weight = sum(
                    torch.autograd.grad((features[:, :, i, j] * signs).sum(), inputs, retain_graph=True)[0].abs()
                    ** power
                    for signs in _signs(features, power)
                )
                y[i, j], x[i, j] = _centroid(weight.sum((0, 1)))
    fitted = fit_grid(y, x, size)
    if like is not None and np.isfinite(y).any():
        starts = (np.nanmean(y) - np.mean(rows) * like.step[0], np.nanmean(x) - np.mean(columns) * like.step[1])
        return MapGrid(starts, like.step, size)
    if fitted is None or any(abs(s * n / whole - 1) > 0.5 for s, n, whole in zip(fitted.step, (h, w), size)):
        return None
    return fitted


def measured_shift(
    model: nn.Module, layer: Anatomy | str | None, images: Tensor, followed: MapGrid
) -> tuple[float, float]:
    """Pixels (y, x) from where the arithmetic puts a map to what the network, with its weights, looks at.

    It belongs to the weights: found on a few images of one size, it holds for others.

    Args:
        model, layer: as in :func:`find_grid`.
        images: (N, 3, H, W) network inputs; the first :data:`MEASURED_IMAGES` are used.
        followed: the grid of the layer for inputs of this size.

    Returns:
        (dy, dx); zeros where there is no gradient to go by.
    """
    found = measured_grid(model, layer, images[:MEASURED_IMAGES], like=followed)
    if found is None:
        return 0.0, 0.0
    return found.start[0] - followed.start[0], found.start[1] - followed.start[1]


def _features(model: nn.Module, anatomy: Anatomy, inputs: Tensor) -> Tensor:
    """(N, D, h, w), with gradients; a segmentor's map of logits."""
    if anatomy.layer is None:
        return run(model, inputs)
    kept: list[Tensor] = []
    with hooked([anatomy.layer.register_forward_hook(lambda m, i, output: kept.append(last_tensor(output)))]):
        run(model, inputs)
    return as_map(anatomy, kept[-1], (inputs.shape[2], inputs.shape[3]))


def _signs(features: Tensor, power: int) -> Iterator[Tensor]:
    """Factors of the channels, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(PROBES if power == 2 else 1):
        signs = torch.randint(2, (features.shape[1],), generator=generator) * 2 - 1 if power == 2 else 1
        yield torch.as_tensor(signs, device=features.device, dtype=features.dtype)


def _centroid(weight: Tensor) -> tuple[float, float]:
    """(y, x) of (H, W) weights; NaN where there are none."""
    weight = weight.double().cpu()
    total = weight.sum()
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in weight.shape)
    return float((weight.sum(1) * rows).sum() / total), float((weight.sum(0) * columns).sum() / total)


#: A network that gives its last map itself, as a backbone does.
LAST_MAP = Anatomy(layer=None, name='', classifier=None, pooling='mean', channels=None, dense=True)


class LayerGrid:
    """Where the locations of a layer look, for inputs of any size: found, and moved by what the weights say.

    What is ``measured`` belongs to the weights: it is kept, from the first inputs on, until :meth:`forget_weights`; in
    several processes each goes by its own images.

    Args:
        kind: ``followed``, by the arithmetic of the layers, see :func:`find_grid`; ``measured``, moved from there by
            what gradients say, see :func:`measured_shift`; or ``half_pixel``.

    Raises:
        ValueError: for another kind.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    >>> LayerGrid()(model, '0', torch.zeros(1, 3, 64, 64))
    MapGrid(start=(0.0, 0.0), step=(2.0, 2.0), size=(64, 64))
    """

    def __init__(self, kind: str = 'followed') -> None:
        self.kind = check_grid(kind)
        self.shift: tuple[float, float] | None = None

    def forget_weights(self) -> None:
        """The weights have changed, or may have."""
        self.shift = None

    def __call__(self, model: nn.Module, layer: Anatomy | str | None, inputs: Tensor) -> MapGrid | None:
        """The grid, in pixels of the inputs (N, 3, H, W); None for half-pixel."""
        if self.kind == 'half_pixel':
            return HALF_PIXEL
        with torch.inference_mode(False):  # where there are no gradients to measure by
            inputs = inputs.clone() if inputs.is_inference() else inputs
            grid = find_grid(model, layer, inputs)
            if grid is None or self.kind == 'followed':
                return grid
            if self.shift is None:
                self.shift = measured_shift(model, layer, inputs, grid)
            return grid.shifted(self.shift)

    def measure(self, model: nn.Module, layer: Anatomy | str | None, inputs: Iterable[Tensor]) -> None:
        """Let the mean over these inputs (1, 3, H, W), of any sizes, say how far the weights move the grid."""
        found = ((one, find_grid(model, layer, one)) for one in inputs)
        shifts = [measured_shift(model, layer, one, grid) for one, grid in found if grid is not None]
        dy, dx = np.mean(shifts, axis=0).tolist() if shifts else (0.0, 0.0)
        self.shift = (dy, dx)


class LastMapGrid:
    """Where the last map of a backbone looks: found at the first images of each size, then known.

    As :class:`LayerGrid`; where nothing can be found, a warning says once that maps are drawn half-pixel.

    >>> backbone = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.MaxPool2d(3, 2, 1))
    >>> LastMapGrid()(backbone, torch.zeros(1, 3, 64, 64))
    MapGrid(start=(0.0, 0.0), step=(4.0, 4.0), size=(64, 64))
    """

    def __init__(self, kind: str = 'followed') -> None:
        self._grid = LayerGrid(kind)
        self._unknown: set[tuple[int, ...]] = set()  # sizes without a grid

    @property
    def kind(self) -> str:
        """One of :data:`GRIDS`."""
        return self._grid.kind

    def forget_weights(self) -> None:
        """The weights have changed, or may have."""
        self._grid.forget_weights()

    @torch.compiler.disable
    def __call__(self, backbone: nn.Module, inputs: Tensor) -> MapGrid | None:
        """The grid, in pixels of the inputs (N, 3, H, W); None for half-pixel."""
        size = tuple(inputs.shape[2:])
        if size in self._unknown:
            return HALF_PIXEL
        backbone = getattr(backbone, '_orig_mod', backbone)  # a compiled one hides its operations
        if hasattr(backbone, 'declared_grid'):  # it gives features of images that it does not see
            return backbone.declared_grid(size)
        try:
            with torch.autocast(inputs.device.type, enabled=False):
                return self._grid(backbone, LAST_MAP, inputs[:MEASURED_IMAGES])
        except (RuntimeError, TypeError, ValueError) as error:
            # Maps are worth having also where nobody can say how far off they are drawn.
            warnings.warn(
                f'where the maps of {type(backbone).__name__} look could not be found ({error}), so they are drawn '
                "half-pixel; grid='half_pixel' does so without asking",
                stacklevel=3,
            )
            self._unknown.add(size)
            return HALF_PIXEL
