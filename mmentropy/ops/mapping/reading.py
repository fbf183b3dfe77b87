# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""How a class map is read: negative evidence cut, weighed by certainty, spread over locations that look alike.

The WSOL protocol reads the raw class map :math:`z_y`. Three steps, each free of training and each optional, in this
order:

1. ``relu``: :math:`m \leftarrow \max(0, m)`; "no evidence" has the same height in every image;
2. ``certain``: :math:`m \leftarrow m \cdot e^{-H/T}`, *H* the location entropy in nats: the map where the network is
   sure;
3. ``spread``: :math:`m \leftarrow A m`, with
   :math:`A_{ij} \propto \max(0, \cos(f_i - \bar f, f_j - \bar f))^p` over the locations of an image, rows summing to
   one, :math:`\bar f` the image's mean feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: What may make locations alike.
AFFINITIES = ('features', 'attention')
#: Up to 60×60 locations each is compared with every other; above, with those in a window.
MOST_GLOBAL = 3600
#: Locations to each side of a window.
WINDOW_RADIUS = 15
#: Entries of the affinity that exist at once.
CHUNK_ENTRIES = 1 << 20


@dataclass(frozen=True)
class Reading:
    """How class maps are read; see the formulae of this module.

    Args:
        relu: cut negative evidence.
        certain: multiply by e^(−H/T).
        spread: steps of the affinity; 0 spreads nothing.
        temperature: T, in nats; larger trusts uncertain locations more.
        power: p of the affinity; larger keeps to the most similar locations.
        affinity: what makes locations alike: ``features``, or the network's own ``attention`` (of a vision
            transformer; see :func:`attention_affinity`), which has no power.

    Raises:
        ValueError: for a temperature or power that is not positive, or a negative number of steps.

    >>> Reading.named('certain+spread')
    Reading(relu=True, certain=True, spread=1, temperature=1.0, power=4.0, affinity='features')
    """

    relu: bool = False
    certain: bool = False
    spread: int = 0
    temperature: float = 1.0
    power: float = 4.0
    affinity: str = 'features'

    def __post_init__(self) -> None:
        for name in ('temperature', 'power'):
            if not getattr(self, name) > 0:
                raise ValueError(f'{name} of a reading must be above 0, got {getattr(self, name)}')
        if self.spread != int(self.spread) or self.spread < 0:
            raise ValueError(f'spread of a reading is a number of steps, 0 or more, got {self.spread}')
        if self.affinity not in AFFINITIES:
            raise ValueError(f'affinity of a reading must be one of {AFFINITIES}, got {self.affinity!r}')

    @classmethod
    def named(cls, name: str) -> Reading:
        """A preset.

        Args:
            name: ``protocol`` (the raw map), ``relu``, ``certain`` (relu, certain), ``certain+spread`` (and one step
                with p = 4) or ``certain+attention`` (and one step by attention).

        Raises:
            ValueError: for another name.
        """
        if name not in READINGS:
            raise ValueError(f'reading must be one of {", ".join(READINGS)}, or a Reading, got {name!r}')
        return READINGS[name]

    @classmethod
    def of(cls, value: Reading | dict | str | None) -> Reading:
        """A reading from what a config may hold: a name, a dict of the arguments, a reading, or None (the protocol's).

        >>> Reading.of({'relu': True}), Reading.of('protocol') == Reading.of(None)
        (Reading(relu=True, certain=False, spread=0, temperature=1.0, power=4.0, affinity='features'), True)
        """
        if value is None:
            return cls()
        if isinstance(value, str):
            return cls.named(value)
        if isinstance(value, dict):
            unknown = sorted(set(value) - set(cls.__dataclass_fields__))
            if unknown:
                raise ValueError(f'a reading has {", ".join(cls.__dataclass_fields__)}; it knows no {unknown[0]!r}')
            return cls(**value)
        return value

    @property
    def needs_entropy(self) -> bool:
        """Whether the location entropy is read."""
        return self.certain

    @property
    def needs_features(self) -> bool:
        """Whether features, or an affinity, are read."""
        return self.spread > 0

    @property
    def needs_attention(self) -> bool:
        """Whether the network's attention is read."""
        return self.spread > 0 and self.affinity == 'attention'


#: The presets, by name.
READINGS = {
    'protocol': Reading(),
    'relu': Reading(relu=True),
    'certain': Reading(relu=True, certain=True),
    'certain+spread': Reading(relu=True, certain=True, spread=1),
    'certain+attention': Reading(relu=True, certain=True, spread=1, affinity='attention'),
}


@torch.no_grad()
def read_maps(
    maps: Tensor,
    entropy: Tensor | None = None,
    features: Tensor | None = None,
    reading: Reading | dict | str | None = None,
    affinity: Tensor | None = None,
) -> Tensor:
    r"""Read raw class maps: :math:`A^n\,(\max(0, m) \cdot e^{-H/T})`, each part where the reading has it.

    Args:
        maps: (B, K, h, w) raw class maps.
        entropy: (B, h, w) location entropy in nats (of a softmax, or the mean of binary entropies); for ``certain``.
        features: (B, D, h, w) the map's features; for ``spread``.
        reading: a :class:`Reading`, a preset's name, a dict of its arguments; None is the protocol's: the maps as they
            are.
        affinity: (B, h·w, h·w) non-negative weights of every location (row) to every location in place of the features'
            (attention between patches, say); rows are made to sum to one.

    Returns:
        (B, K, h, w) on the device and in the type of ``maps``; without gradients.

    Raises:
        ValueError: when what the reading needs is missing, or shapes do not fit.

    >>> maps, entropy = torch.tensor([[[[2.0, -1.0]]]]), torch.tensor([[[0.0, 1.0]]])
    >>> read_maps(maps, entropy, reading='certain').tolist()
    [[[[2.0, 0.0]]]]
    """
    reading = Reading.of(reading)
    if maps.ndim != 4:
        raise ValueError(f'maps must be (B, K, h, w), got the shape {tuple(maps.shape)}')
    batch, _, *place = maps.shape
    out = maps.clamp(min=0) if reading.relu else maps
    if reading.certain:
        if entropy is None:
            raise ValueError('this reading weighs by certainty and needs the location entropy; or use certain=False')
        if entropy.shape != (batch, *place):
            raise ValueError(f'entropy must be {(batch, *place)} for these maps, got {tuple(entropy.shape)}')
        out = out * torch.exp(entropy[:, None] / -reading.temperature).to(out.dtype)
    if not reading.spread:
        return out
    if affinity is not None:
        return _by_affinity(out, affinity, reading.spread)
    if reading.needs_attention:
        raise ValueError("this reading spreads by attention and needs its affinity; or use affinity='features'")
    if features is None:
        raise ValueError('this reading spreads by the similarity of features and needs them; or use spread=0')
    return spread_by_features(out, features, reading.power, reading.spread)


def spread_by_features(
    maps: Tensor, features: Tensor, power: float = 4.0, steps: int = 1, radius: int | None = None
) -> Tensor:
    r"""Mean of a map over the locations that look alike: :math:`m \leftarrow A m`, ``steps`` times.

    :math:`A_{ij} = s_{ij} / \sum_k s_{ik}`, :math:`s_{ij} = \max(0, \cos(f_i - \bar f, f_j - \bar f))^p` with the
    image's mean feature taken off, :math:`s_{ii} = 1`. Every location is compared with every other up to
    :data:`MOST_GLOBAL` locations, above that with those at most :data:`WINDOW_RADIUS` rows and columns away. At most
    about :data:`CHUNK_ENTRIES` similarities exist at once (for one row of locations, if that is more).

    Args:
        maps: (B, K, h, w).
        features: (B, D, h, w).
        power: p > 0.
        steps: how often.
        radius: rows and columns to each side that are compared; None decides as above.

    Returns:
        (B, K, h, w) on the device and in the type of ``maps``.

    Raises:
        ValueError: when the features lie on another grid than the maps.

    >>> maps = torch.tensor([[[[4.0, 0.0, 2.0]]]])
    >>> features = torch.tensor([[[[1.0, 1.0, -2.0]]]])  # the first two look alike, the third is their opposite
    >>> spread_by_features(maps, features).tolist()
    [[[[2.0, 2.0, 2.0]]]]
    """
    batch, _, height, width = maps.shape
    if features.ndim != 4 or features.shape[0] != batch or features.shape[2:] != maps.shape[2:]:
        raise ValueError(
            f'features must be ({batch}, D, {height}, {width}) to spread these maps, got {tuple(features.shape)}'
        )
    if radius is None and height * width > MOST_GLOBAL:
        radius = WINDOW_RADIUS
    # (B, L, D) directions from the mean feature, and (B, L, K) values.
    centred = features.flatten(2).float()
    unit = F.normalize(centred - centred.mean(dim=2, keepdim=True), dim=1).transpose(1, 2)
    values = maps.flatten(2).transpose(1, 2).float()
    for _ in range(steps):
        if radius is None:
            values = _spread_globally(values, unit, power)
        else:
            values = _spread_in_windows(values, unit, power, radius, (height, width))
    return values.transpose(1, 2).reshape(maps.shape).to(maps.dtype)


def _similarity(cosines: Tensor, power: float) -> Tensor:
    """max(0, cos)^p in place."""
    cosines.clamp_(min=0)
    while power > 1 and power % 2 == 0:  # squaring is a tenth of the price of a power
        cosines.square_()
        power /= 2
    return cosines if power == 1 else cosines.pow_(power)


def _chunks(total: int, size: int) -> list[slice]:
    return [slice(at, min(at + max(size, 1), total)) for at in range(0, total, max(size, 1))]


def _spread_globally(values: Tensor, unit: Tensor, power: float) -> Tensor:
    """One step over all pairs. Similarity is symmetric: every block of pairs is computed once and used both ways."""
    batch, length, _ = values.shape
    # With a column of ones the row sums come out of the same product.
    values = F.pad(values, (0, 1), value=1.0)
    out = torch.zeros_like(values)
    blocks = _chunks(length, int(CHUNK_ENTRIES**0.5))
    for images in _chunks(batch, CHUNK_ENTRIES // min(length, blocks[0].stop) ** 2):
        for i, rows in enumerate(blocks):
            for columns in blocks[i:]:
                block = _similarity(unit[images, rows] @ unit[images, columns].transpose(1, 2), power)
                if rows == columns:
                    block.diagonal(dim1=1, dim2=2).fill_(1.0)
                else:
                    out[images, columns] += block.transpose(1, 2) @ values[images, rows]
                out[images, rows] += block @ values[images, columns]
    return out[..., :-1] / out[..., -1:]


def _spread_in_windows(values: Tensor, unit: Tensor, power: float, radius: int, size: tuple[int, int]) -> Tensor:
    """One step over the pairs at most ``radius`` rows and columns apart, some rows of locations at a time."""
    height, width = size
    values = F.pad(values, (0, 1), value=1.0)
    out = torch.empty_like(values)
    places = torch.arange(height * width, device=values.device)
    y, x = places // width, places % width
    # A strip of n rows is compared with n + 2·radius of them.
    strips = _chunks(height, max(1, CHUNK_ENTRIES // (width * width * (2 * radius + 1)) // 2))
    for strip in strips:
        rows = slice(strip.start * width, strip.stop * width)
        near = slice(max(0, strip.start - radius) * width, min(height, strip.stop + radius) * width)
        apart = torch.maximum((y[rows, None] - y[None, near]).abs(), (x[rows, None] - x[None, near]).abs())
        itself = places[rows, None] == places[None, near]
        for image in range(len(values)):
            block = _similarity(unit[image, rows] @ unit[image, near].T, power)
            block = block.masked_fill_(apart > radius, 0.0).masked_fill_(itself, 1.0)
            out[image, rows] = block @ values[image, near]
    return out[..., :-1] / out[..., -1:]


def _by_affinity(maps: Tensor, affinity: Tensor, steps: int) -> Tensor:
    """``steps`` of a given affinity, its rows made to sum to one; a row of zeros keeps its location's value."""
    batch, _, height, width = maps.shape
    length = height * width
    if affinity.shape != (batch, length, length):
        raise ValueError(f'affinity must be {(batch, length, length)} for these maps, got {tuple(affinity.shape)}')
    affinity = affinity.float()
    totals = affinity.sum(dim=2, keepdim=True)
    values = maps.flatten(2).transpose(1, 2).float()
    for _ in range(steps):
        values = torch.where(totals > 0, affinity @ values / totals.clamp(min=1e-30), values)
    return values.transpose(1, 2).reshape(maps.shape).to(maps.dtype)


def attention_affinity(attention: Tensor, steps: int = 3) -> Tensor:
    r"""Attention between patches, made symmetric and doubly stochastic: an affinity for :func:`read_maps`.

    Sinkhorn's normalisation: ``steps`` times the rows and then the columns are divided by their sums; then
    :math:`(A + A^T)/2`.

    Args:
        attention: (..., L, L) non-negative; the mean over heads and over the last blocks, class tokens left out.
        steps: of Sinkhorn's normalisation.

    Returns:
        (..., L, L) float32, symmetric; rows and columns sum to one, the nearer the more steps.

    Raises:
        ValueError: when the last two axes differ.

    Source: the affinity from attention as in Lin et al., "CLIP is also an efficient segmenter" (CVPR 2023); Sinkhorn
    and Knopp (1967).

    >>> attention_affinity(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
    tensor([[0.6667, 0.3333],
            [0.3333, 0.6667]])
    """
    if attention.ndim < 2 or attention.shape[-1] != attention.shape[-2]:
        raise ValueError(f'attention must be (..., L, L), got the shape {tuple(attention.shape)}')
    out = attention.float()
    for _ in range(steps):
        out = out / out.sum(dim=-1, keepdim=True).clamp(min=1e-30)
        out = out / out.sum(dim=-2, keepdim=True).clamp(min=1e-30)
    return (out + out.transpose(-1, -2)) / 2
