# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Where the locations of any layer look, found by following one forward pass.

Every number that the network computes gets a *place*: the pixel (y, x) of the image that it looks at. What moves
numbers (reshape, slice, roll, windows, tokens, pixel-shuffle) moves their places; a convolution, a pooling or an
interpolation reads places as its arithmetic says (:mod:`~mmentropy.ops.mapping.geometry`), beyond the border as if the
image went on; a sum over channels takes the mean place. It is done below PyTorch's functions, on the operations that
they are made of, so modules and functional calls are seen alike.

Global mixing (attention, a gate of pooled features) has no place of its own: with every place goes *mix*, the
variance in px² of the places that a mixing took together, and where values are joined those of the least mix decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from mmentropy.ops.mapping.geometry import MapGrid

from .anatomy import Anatomy
from .watching import frozen, hooked, last_tensor, run

#: Operations that only move numbers: their places are moved by the same operation.
MOVES = {
    *('view', '_unsafe_view', 'reshape', '_reshape_alias', 'flatten', 'unflatten', 'as_strided', 'alias', 'detach'),
    *('permute', 'transpose', 't', 'movedim', 'swapaxes', 'unsqueeze', 'squeeze', 'expand', 'repeat', 'clone'),
    *('slice', 'select', 'narrow', 'diagonal', 'slice_scatter', 'select_scatter', 'roll', 'flip', 'rot90'),
    *('cat', 'stack', 'split', 'split_with_sizes', 'unsafe_split', 'chunk', 'unbind', 'unfold'),
    *('index', 'index_select', 'gather', 'take_along_dim'),
    *('pixel_shuffle', 'pixel_unshuffle', 'channel_shuffle', 'native_channel_shuffle'),
}
#: Sums of products over an axis: the axis of each operand, counted from the end.
CONTRACTIONS = {
    'mm': ((0, -1), (1, -2)),
    'bmm': ((0, -1), (1, -2)),
    'matmul': ((0, -1), (1, -2)),
    'addmm': ((1, -1), (2, -2)),
    'baddbmm': ((1, -1), (2, -2)),
    'linear': ((0, -1),),
    '_addmm_activation': ((1, -1), (2, -2)),
}
REDUCTIONS = {'mean', 'sum', 'amax', 'amin', 'max', 'min', 'var', 'std', 'var_mean', 'linalg_vector_norm', 'logsumexp'}
PADDINGS = {
    'constant_pad_nd',
    *('reflection_pad1d', 'reflection_pad2d', 'replication_pad1d', 'replication_pad2d'),
}
POOLINGS = {'avg_pool2d', 'max_pool2d', 'max_pool2d_with_indices'}
ADAPTIVE = {'adaptive_avg_pool2d', '_adaptive_avg_pool2d', 'adaptive_max_pool2d'}
#: Joined branches that look at places further apart than this, in pixels, are told of.
APART = 0.25


class Place(NamedTuple):
    """Where the numbers of a tensor look: three tensors of its shape, NaN where no place is known.

    >>> place = Place(y=torch.tensor([0.0]), x=torch.tensor([4.0]), mix=torch.tensor([1.0]))
    >>> place.map(lambda part: part / 2).x
    tensor([2.])
    """

    y: Tensor
    x: Tensor
    mix: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Place:
        """The same done to all three."""
        return Place(*(function(part) for part in self))


def compact(tensor: Tensor) -> Tensor:
    """Axes along which a tensor was only expanded, made 1 long: most places are the same for all channels."""
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride())):
        if size > 1 and stride == 0:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def merge(place: Place, axis: int) -> Place:
    """One place for all along an axis, which stays with length 1: the mean over those of the least mix."""
    place = place.map(lambda part: part.narrow(axis, 0, 1) if part.stride(axis) == 0 else part)
    length = max(part.shape[axis] for part in place)
    if length == 1:
        return place
    place = place.map(lambda part: part.expand(*(length if a == axis % part.ndim else -1 for a in range(part.ndim))))
    known = ~place.y.isnan()
    least = torch.where(known, place.mix, torch.inf).amin(axis, keepdim=True)
    chosen = known & (place.mix <= 1.01 * least + 1e-3)
    count = chosen.sum(axis, keepdim=True)

    def mean(part: Tensor) -> Tensor:
        # Where nothing is chosen this is 0/0: no place.
        return torch.where(chosen, part, 0.0).sum(axis, keepdim=True) / count

    y, x = mean(place.y), mean(place.x)
    return Place(y, x, mean(place.mix + (place.y - y).square() + (place.x - x).square()))


def sample(tensor: Tensor, axis: int, at: np.ndarray) -> Tensor:
    """Values at fractional indices of an axis, linear between and beyond them: places go on outside the image."""
    size = tensor.shape[axis]
    first = np.clip(np.floor(at), 0, max(size - 2, 0)).astype(np.int64)
    low = tensor.index_select(axis, torch.from_numpy(first).to(tensor.device))
    if size == 1:
        return low
    high = tensor.index_select(axis, torch.from_numpy(first + 1).to(tensor.device))
    shape = [1] * tensor.ndim
    shape[axis] = len(at)
    share = torch.from_numpy(at - first).to(tensor).view(shape)
    return low + share * (high - low)


def resample(place: Place, axes: Sequence[int], at: Sequence[np.ndarray]) -> Place:
    """Places at fractional indices of some axes."""
    y, x, mix = place
    for axis, where in zip(axes, at):
        y, x = sample(y, axis, where), sample(x, axis, where)
        mix = sample(mix, axis, np.clip(np.rint(where), 0, mix.shape[axis] - 1))
    return Place(y, x, mix)


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [tensor for item in items for tensor in tensors_in(item)]


def with_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same nest with every tensor replaced."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: with_tensors(item, function) for key, item in value.items()}
    return [with_tensors(item, function) for item in value] if isinstance(value, tuple | list) else value


class Follower(TorchDispatchMode):
    """Keeps the place of every number that is computed while it is on.

    Args:
        image: (N, C, H, W); its pixels are where they are.

    Attributes:
        notes: sentences on what was found on the way: branches that disagree.
        lost: operations behind which no place is known.

    >>> image = torch.rand(1, 1, 4, 4)
    >>> with Follower(image) as follower:
    ...     pooled = torch.nn.functional.max_pool2d(image, 2)
    >>> follower.places[pooled].y[0, 0, :, 0].tolist()  # the middle of rows 0 and 1, and of rows 2 and 3
    [0.5, 2.5]
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.places: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.notes: set[str] = set()
        self.lost: set[str] = set()
        # Half a pixel in a thousand is lost in float32, and one accelerator knows no other type.
        dtype = torch.float32 if image.device.type == 'mps' else torch.float64
        y = torch.arange(image.shape[2], device=image.device, dtype=dtype)[:, None]
        x = torch.arange(image.shape[3], device=image.device, dtype=dtype)
        self.places[image] = Place(y, x, torch.zeros_like(x)).map(lambda part: part.expand(image.shape))
        self.unknown = torch.full((), torch.nan, device=image.device, dtype=dtype)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self._follow(func, args, kwargs, out)
        return out

    # -- bookkeeping -------------------------------------------------------------------------------------------------

    def _known(self, tensor: Any) -> Place | None:
        return self.places.get(tensor) if isinstance(tensor, Tensor) else None

    def _place_or_unknown(self, tensor: Tensor) -> Place:
        unknown = self.unknown.expand(tensor.shape)
        return self._known(tensor) or Place(unknown, unknown, unknown)

    def _keep(self, tensor: Tensor, place: Place | None) -> None:
        if place is None:
            self.places.pop(tensor, None)
        else:
            self.places[tensor] = place.map(lambda part: part.to(tensor.device).expand(tensor.shape))

    def _write(self, tensor: Tensor, place: Place | None) -> None:
        """The tensor was changed in place; and with it the one that it is a view of."""
        self._keep(tensor, place)
        base = tensor._base
        if base is None or (place is None and self._known(base) is None):
            return

        def written(whole: Tensor, part: Tensor) -> Tensor:
            copy = torch.empty_strided(base.shape, base.stride(), dtype=whole.dtype, device=whole.device).copy_(whole)
            view = copy.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset() - base.storage_offset())
            view.copy_(part)
            return copy

        pairs = zip(self._place_or_unknown(base), self._place_or_unknown(tensor))
        self._keep(base, Place(*(written(*pair) for pair in pairs)))

    # -- what the operations do --------------------------------------------------------------------------------------

    def _follow(self, func: Any, args: tuple, kwargs: dict, out: Any) -> None:
        bound = dict(zip((a.name for a in func._schema.arguments), args)) | kwargs
        operands = tensors_in((args, kwargs))
        name = func.overloadpacket.__name__
        if func._schema.is_mutable and 'out' not in bound and operands:
            if any(self._known(operand) is not None for operand in operands):
                self._write(operands[0], self._changed(name, func, bound, operands, args, kwargs))
            return
        if not any(self._known(operand) is not None for operand in operands):
            return
        outputs = tensors_in(out)
        if name in MOVES and not self._shuffles_one_place(name, operands[0]):
            for tensor, place in zip(outputs, self._moved(func, args, kwargs, len(outputs), outputs)):
                self._keep(tensor, place)
            return
        for tensor in outputs:
            if tensor.is_floating_point() or tensor.is_complex():
                place = self._computed(name, bound, operands, tensor)
                if place is None:
                    self.lost.add(name)
                self._keep(tensor, place)

    def _shuffles_one_place(self, name: str, tensor: Tensor) -> bool:
        """A pixel-shuffle of channels that look at one place: its neighbours are meant to divide it among them."""
        place = self._known(tensor)
        return name == 'pixel_shuffle' and place is not None and all(part.stride(-3) == 0 for part in place)

    def _changed(self, name: str, func: Any, bound: dict, operands: list, args: tuple, kwargs: dict) -> Place | None:
        """The place of the first operand after an operation that changes it."""
        target = operands[0]
        if name == 'copy_':
            return self._known(operands[1])
        if name in ('fill_', 'zero_') or name.startswith(('uniform', 'normal', 'bernoulli')):
            return None
        if name.startswith(('index_', 'scatter', 'masked_scatter')):
            own = self._place_or_unknown(target)
            rest = [self._place_or_unknown(t) if t.is_floating_point() else None for t in operands]

            def again(which: int) -> Tensor:
                given = iter(rest)
                next(given)
                clone = own[which].contiguous().clone()
                swap = {id(t): p[which] for t, p in zip(operands[1:], given) if p is not None}
                swap[id(target)] = clone
                func(*with_tensors(args, lambda t: swap.get(id(t), t)), **kwargs)
                return clone

            return Place(*(again(which) for which in range(3)))
        return self._computed(name.removesuffix('_'), bound, operands, target)

    def _moved(self, func: Any, args: tuple, kwargs: dict, count: int, outputs: list[Tensor]) -> list[Place]:
        """The same operation on the places."""
        parts: list[list[Tensor]] = []
        for which in range(3):

            def swap(tensor: Tensor, which: int = which) -> Tensor:
                if not (tensor.is_floating_point() or tensor.is_complex()):
                    return tensor
                part = self._place_or_unknown(tensor)[which]
                if func.overloadpacket.__name__ == 'as_strided':  # counts in the tensor's own memory
                    return torch.empty_strided(
                        tensor.shape, tensor.stride(), dtype=part.dtype, device=part.device
                    ).copy_(part)
                return part

            moved_args, moved_kwargs = with_tensors(args, swap), with_tensors(kwargs, swap)
            moved_kwargs.pop('memory_format', None)
            try:
                moved = func(*moved_args, **moved_kwargs)
            except RuntimeError:
                # A view that an expanded tensor cannot have.
                moved = moved_args[0].reshape(outputs[0].shape)
            parts.append(tensors_in(moved))
        return [Place(*(parts[which][i] for which in range(3))) for i in range(count)]

    def _computed(self, name: str, bound: dict, operands: list[Tensor], out: Tensor) -> Place | None:
        """The place of what an operation computes; None where it is not known."""
        first = self._known(operands[0])
        if name == 'convolution' or name.startswith(('mkldnn_convolution', 'cudnn_convolution')):
            return None if first is None else self._convolved(first, bound, out)
        if name in CONTRACTIONS:
            factors = [(self._known(operands[i]), axis) for i, axis in CONTRACTIONS[name] if i < len(operands)]
            return self._product([merge(place, axis) for place, axis in factors if place is not None], out)
        if 'scaled_dot_product' in name:
            # Each query's value looks where the query does; queries that are parameters look wherever the values do.
            values = self._known(operands[2])
            queries = first if first is not None or values is None else merge(values, -2)
            return None if queries is None else self._join([merge(queries, -1)], out)
        if first is not None and name in POOLINGS:
            kernel = _two(bound['kernel_size'])
            grid = _indices().convolved(
                kernel,
                _two(bound.get('stride') or kernel),
                _two(bound.get('padding') or 0),
                _two(bound.get('dilation') or 1),
            )
            return self._resampled(first, grid, out)
        if first is not None and name in ADAPTIVE:
            return self._adaptive(first, out)
        if first is not None and name.startswith(('upsample_', '_upsample_')) and out.ndim == 4:
            return self._resampled(first, _interpolated(name, bound, operands[0], out), out)
        if first is not None and name == 'pixel_shuffle':
            return self._resampled(merge(first, -3), _indices().unfolded(int(bound['upscale_factor'])), out)
        if first is not None and name in PADDINGS:
            return self._padded(first, bound, out)
        if first is not None and name == 'im2col':
            return self._unfolded(first, bound, out)
        if first is not None and name == 'col2im':
            return self._folded(first, bound)
        if first is not None and name in REDUCTIONS and out.shape != operands[0].shape:
            return self._reduced(first, bound, out)
        # Element by element, and whatever keeps its shape: norms, activations, softmax, dropout.
        return self._join([place for place in map(self._known, operands) if place is not None], out)

    def _product(self, factors: list[Place], out: Tensor) -> Place | None:
        """Of a product of matrices: the row's place (a query's, not its key's), unless the column's is less mixed."""
        if len(factors) == 2:
            rows, columns = (factor.mix.nan_to_num() for factor in (f.map(compact) for f in factors))
            if bool((rows <= 1.01 * columns + 1e-3).all()):
                factors = factors[:1]
        return self._join(factors, out)

    def _join(self, places: list[Place], out: Tensor) -> Place | None:
        """Of values that are joined element by element."""
        places = [p for p in places if _broadcasts(p.y, out)]
        # A factor that is the same for a whole axis, as a gate of pooled features is, has no say in the place.
        whole = [p for p in places if p.y.shape == out.shape]
        places = whole or places
        if not places or len({tuple(map(id, p)) for p in places}) == 1:
            return places[0] if places else None
        small = [p.map(compact) for p in places]
        stacked = Place(*(torch.stack(torch.broadcast_tensors(*parts)) for parts in zip(*small)))
        joined = merge(stacked, 0)
        chosen = stacked.mix <= 1.01 * stacked.mix.nan_to_num(torch.inf).amin(0) + 1e-3
        gap = torch.where(chosen, (stacked.y - joined.y).abs().maximum((stacked.x - joined.x).abs()), 0.0)
        if whole and bool((2 * gap.nan_to_num() > APART).any()):
            self.notes.add('branches that are joined look at different places, and their mean is taken')
        return joined.map(lambda part: part[0])

    def _resampled(self, place: Place, grid: MapGrid, out: Tensor) -> Place:
        """Places of the last two axes at the grid's indices; the axes before them stay."""
        place = place.map(compact)  # what was expanded is alike along that axis: one is enough
        rows, columns = grid.pixels((out.shape[-2], out.shape[-1]))
        return resample(place, (place.y.ndim - 2, place.y.ndim - 1), (rows, columns))

    def _convolved(self, place: Place, bound: dict, out: Tensor) -> Place | None:
        kernel = bound['weight'].shape[2:]
        if len(kernel) != 2:
            # Along tokens or time: only kernels of one keep the place.
            return self._join([merge(place, 1)], out) if set(kernel) == {1} and out.ndim == place.y.ndim else None
        arguments = [_two(bound[key]) for key in ('stride', 'padding', 'dilation')]
        layer = _indices().transposed if bound.get('transposed') else _indices().convolved
        groups = int(bound.get('groups') or 1)
        axis = place.y.ndim - 3
        if groups > 1 and any(part.stride(axis) != 0 for part in place):
            split = place.map(lambda part: part.unflatten(axis, (groups, part.shape[axis] // groups)))
            place = merge(split, axis + 1).map(lambda part: part.squeeze(axis + 1))
            share = out.shape[axis] // groups
            place = place.map(lambda part: part.repeat_interleave(share, axis) if part.shape[axis] > 1 else part)
        else:
            place = merge(place, axis)
        return self._resampled(place, layer(tuple(kernel), *arguments), out)

    def _adaptive(self, place: Place, out: Tensor) -> Place:
        for axis in (place.y.ndim - 2, place.y.ndim - 1):
            size, new = place.y.shape[axis], out.shape[axis]
            if new == 1:
                place = merge(place, axis)
            else:
                j = np.arange(new)
                middle = (j * size // new + -(-(j + 1) * size // new) - 1) / 2
                place = resample(place, (axis,), (middle,))
        return place

    def _padded(self, place: Place, bound: dict, out: Tensor) -> Place:
        pad = bound.get('pad', bound.get('padding'))
        for i in range(0, len(pad), 2):
            axis = place.y.ndim - 1 - i // 2
            if pad[i] == 0 == pad[i + 1]:
                continue
            place = resample(place, (axis,), (np.arange(out.shape[axis]) - float(pad[i]),))
        return place

    def _unfolded(self, place: Place, bound: dict, out: Tensor) -> Place:
        (top, left), (h, w) = _two(bound['padding']), place.y.shape[-2:]
        at = np.arange(h + 2 * top) - float(top), np.arange(w + 2 * left) - float(left)
        place = resample(place, (place.y.ndim - 2, place.y.ndim - 1), at)
        options = [_two(bound[key]) for key in ('kernel_size', 'dilation')]
        stride = _two(bound['stride'])
        return place.map(lambda part: torch.ops.aten.im2col(part.contiguous(), *options, [0, 0], stride))

    def _folded(self, place: Place, bound: dict) -> Place:
        options = [
            bound['output_size'],
            *(_two(bound[key]) for key in ('kernel_size', 'dilation', 'padding', 'stride')),
        ]

        def fold(part: Tensor) -> Tensor:
            return torch.ops.aten.col2im(part.contiguous(), *options)

        times = fold(torch.ones_like(place.y))
        return place.map(lambda part: fold(part) / times)

    def _reduced(self, place: Place, bound: dict, out: Tensor) -> Place | None:
        axes = bound.get('dim')
        axes = list(range(place.y.ndim)) if axes in (None, []) else [axes] if isinstance(axes, int) else list(axes)
        axes = sorted((axis % place.y.ndim for axis in axes), reverse=True)
        for axis in axes:
            place = merge(place, axis)
        if out.ndim < place.y.ndim:
            for axis in axes:
                place = place.map(lambda part, axis=axis: part.squeeze(axis))
        return place if _broadcasts(place.y, out) else None


def _indices() -> MapGrid:
    """The grid of a layer's input in its own indices: what a layer makes of it says where its output reads."""
    return MapGrid.of_image((1, 1))


def _two(value: Any) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values


def _broadcasts(part: Tensor, out: Tensor) -> bool:
    try:
        return torch.broadcast_shapes(part.shape, out.shape) == out.shape
    except RuntimeError:
        return False


def _interpolated(name: str, bound: dict, source: Tensor, out: Tensor) -> MapGrid:
    """The grid of an enlarged or reduced map in the indices of its source."""
    old, new = list(source.shape[-2:]), out.shape[-2:]
    scales = bound.get('scale_factors') or [bound.get('scales_h'), bound.get('scales_w')]
    if not bound.get('align_corners'):
        # A factor that was given counts, also where the sizes are rounded.
        old = [n / s if s else o for o, n, s in zip(old, new, scales)]
    nearest = 'nearest' in name and 'exact' not in name
    return _indices().interpolated(tuple(old), tuple(new), bool(bound.get('align_corners')), nearest)


def fit_grid(y: np.ndarray, x: np.ndarray, size: tuple[int, int], tolerance: float = 0.5) -> MapGrid | None:
    """The grid nearest to measured or followed places.

    Args:
        y, x: (h, w) pixels that the locations look at; NaN where not known.
        size: (height, width) of the image.
        tolerance: the largest distance of a place from the grid, in steps.

    Returns:
        The grid by least squares; None when some place is further away than that, or too few are known.

    >>> y, x = np.mgrid[:3, :4] * 16.0
    >>> fit_grid(y + 1.5, x, (48, 64))
    MapGrid(start=(1.5, 0.0), step=(16.0, 16.0), size=(48, 64))
    """
    starts, steps = [], []
    for places, axis in ((y, 0), (x, 1)):
        n = places.shape[axis]
        known = np.isfinite(places)
        index = np.broadcast_to(np.arange(n).reshape((-1, 1) if axis == 0 else (1, -1)), places.shape)
        if not known.any():
            return None
        at, where = index[known].astype(float), places[known]
        step = size[axis] / n
        if at.min() < at.max():
            step = float(((at - at.mean()) * (where - where.mean())).sum() / ((at - at.mean()) ** 2).sum())
        start = float(where.mean() - step * at.mean())
        if not abs(step) > 1e-6 or np.abs(start + step * at - where).max() > tolerance * abs(step):
            return None
        # The last digits are those of sums of many numbers.
        starts.append(round(start, 6))
        steps.append(round(step, 6))
    return MapGrid((starts[0] + 0.0, starts[1] + 0.0), (steps[0], steps[1]), size)


def as_map(anatomy: Anatomy, part: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, D, h, w); an output with strides of their own in y and x is no map to the anatomy, but has four axes."""
    if anatomy.layer is None:
        return part
    try:
        return anatomy.to_map(part, size)
    except ValueError:
        if part.ndim != 4:
            raise
        return part


def follow(model: nn.Module, anatomy: Anatomy, image: Tensor) -> tuple[MapGrid | None, list[str]]:
    """The grid of a layer by following one forward pass.

    Args:
        model: any network.
        anatomy: which layer's output is the map, and how it is read; see :func:`~.anatomy.dissect`.
        image: (1, 3, H, W) network input; what is in it does not matter, its size may.

    Returns:
        The grid, or None where the pass could not be followed to the layer; and sentences on what was found.
    """
    image = image[:1].detach().clone()
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple, output: object) -> None:
        tensor = last_tensor(output)
        if tensor is not None:
            kept.append(tensor)

    handles = [] if anatomy.layer is None else [anatomy.layer.register_forward_hook(keep)]
    fast = torch.backends.mha.get_fastpath_enabled()
    follower = Follower(image)
    try:
        # PyTorch's fused transformer layers are one operation, in which nothing can be followed.
        torch.backends.mha.set_fastpath_enabled(False)
        with hooked(handles), frozen(model), torch.no_grad(), follower:
            logits = run(model, image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    output = kept[-1] if kept else logits
    place = follower.places.get(output)
    size = (image.shape[2], image.shape[3])
    grid = None
    if place is not None:
        whole = merge(place.map(lambda part: as_map(anatomy, part, size)[:1].contiguous()), 1)
        grid = fit_grid(whole.y[0, 0].cpu().numpy(), whole.x[0, 0].cpu().numpy(), size)
    notes = sorted(follower.notes)
    if grid is None:
        lost = f' (no place is known behind {", ".join(sorted(follower.lost))})' if follower.lost else ''
        notes.append(f'the forward pass could not be followed to layer {anatomy.name!r}{lost}')
    return grid, notes
