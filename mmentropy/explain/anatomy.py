# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Where a network keeps its last map and its linear classifier, found by watching one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import pooling as pools
from torch.nn.modules.conv import _ConvNd

from mmentropy.ops.mapping.token_maps import Layout, infer_layout

from .watching import Record, watch

#: Their output is the map before them over again, a pooled one, or weights of attention.
SKIPPED = (
    *(nn.Linear, nn.Dropout, nn.Identity, nn.Flatten, nn.Softmax),
    *(pools._AvgPoolNd, pools._MaxPoolNd, pools._AdaptiveAvgPoolNd, pools._AdaptiveMaxPoolNd),
)

#: Parameters that hold the tokens before the patches, as transformers name them.
TOKENS = ('cls_token', 'class_token', 'dist_token', 'reg_token', 'register_tokens')


@dataclass
class Anatomy:
    """What the map methods need to know of a model.

    Attributes:
        layer: the module whose output is read as the feature map (None for a dense model: its logits are the maps).
        name: its dotted name.
        classifier: the linear layer that gives the logits, or None where there is none on the map's channels.
        pooling: what stands between map and classifier: ``mean`` (its input is the mean of the map: CAM is exact and
            gradients are known), ``own`` (another pooling of the locations that the model declares to score by its
            classifier), ``other`` (another pooling, or a norm between), ``tokens`` (it reads a class token),
            ``class_token`` (likewise, and the layer's patches are read by the same classifier), ``cosine`` (it takes
            the features' direction alone).
        channels: D of the map.
        extra_tokens: tokens before the patches, None where not known.
        dense: the model gives a map of logits, (N, C, H, W): a segmentor.
        kind: how the layer's output lies in memory, see :class:`~mmentropy.ops.mapping.token_maps.Layout`.
        joined: the classifier reads a token and the mean of the patches side by side: ``(token, whether it comes
            first)``. Every location is then that token beside its own patch, and their mean is what is read.

    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> anatomy = dissect(nn.Sequential(*layers), torch.rand(1, 3, 16, 16))
    >>> anatomy.name, anatomy.classifier, anatomy.pooling
    ('1', Linear(in_features=8, out_features=5, bias=True), 'mean')
    """

    layer: nn.Module | None
    name: str
    classifier: nn.Linear | None
    pooling: str
    channels: int | None
    extra_tokens: int | None = None
    dense: bool = False
    kind: str | None = None
    joined: tuple[int, bool] | None = None

    def scored(self, output: Tensor, image_size: tuple[int, int]) -> Tensor:
        """The layer's output as (N, D', h, w), as the classifier's weights read a location."""
        features = self.to_map(output, image_size)
        if self.joined is not None:
            token, first = self.joined
            beside = output[:, token, :, None, None].expand_as(features)
            features = torch.cat([beside, features] if first else [features, beside], 1)
        return F.normalize(features, dim=1) if self.pooling == 'cosine' else features

    def to_map(self, output: Tensor, image_size: tuple[int, int]) -> Tensor:
        """The layer's output as (N, D, h, w)."""
        layout = infer_layout(tuple(output.shape), image_size, self.channels, self.extra_tokens or 0, self.kind)
        if layout is None:
            raise ValueError(
                f'the output {tuple(output.shape)} of layer {self.name!r} is no map of an image of {image_size[0]}x'
                f'{image_size[1]} pixels; name another target_layer'
            )
        return layout.to_map(output)


@dataclass
class Candidate:
    """A layer whose output can be read as a map of the image.

    >>> tokens = torch.tensor([[[1.0], [2.0], [4.0]]], requires_grad=True)  # a class token before two patches
    >>> layer = Candidate(Record('block', nn.Identity(), None, tokens), Layout('tokens', (1, 2), 1, extra_tokens=1))
    >>> layer.pooled().item(), layer.read_by(tokens[0, 0].sum()), layer.read_by(tokens[0, 1].sum())
    (3.0, 'tokens', 'patches')
    """

    record: Record
    layout: Layout

    def read_by(self, score: Tensor) -> str:
        """What a score depends upon: its ``patches``, only the ``tokens`` before them, or ``nothing`` of it."""
        slope = _slope(score, self.record.output)
        if slope is None:
            return 'nothing'
        return 'patches' if self.layout.to_map(slope).any() else 'tokens'

    def pooled(self) -> Tensor:
        """(1, D) mean of the map."""
        return self.layout.to_map(self.record.output).mean((2, 3))


@torch.inference_mode(False)  # also where the caller keeps no gradients
@torch.enable_grad()
def dissect(
    model: nn.Module,
    image: Tensor,
    target_layer: str | None = None,
    classifier: str | None = None,
    by_location: bool = False,
) -> Anatomy:
    """Find the last feature map and the linear classifier of any model.

    One forward pass on noise of the image's size is watched, so the answer does not depend upon what the image shows.

    1. The **classifier** is the last linear layer whose output is the model's, unless the model declares one as
       ``location_classifier``: a linear layer that scores each location of its last map.
    2. The **map** is the last layer before it whose output is a map of the image and has a gradient from what the
       classifier reads. Where the last layers have one at their class token only (ViT, DeiT), it is the last layer
       whose patches still have one.
    3. The classifier counts where it has as many inputs as the map has channels and no other layer with weights stands
       between. Where there is none, but each class reads a channel of its own (SqueezeNet), it is the identity. One
       that gives scaled cosines is taken as linear on features of length one.
    4. With ``by_location`` a classifier that reads a class token is read on the patches beside it, in the layer whose
       class token is, number for number, what it reads (``class_token``); and one that reads a class token and the mean
       of the patches side by side is read as :attr:`Anatomy.joined` says. A model may declare the layer whose locations
       are scored as ``location_layer``.

    Names given by the caller are taken as they are.

    Args:
        model: gives (N, C) logits, or (N, C, H, W) class maps.
        image: (1, 3, H, W) network input; its size counts.
        target_layer, classifier: dotted names of modules, to override what would be found.
        by_location: whether the caller scores locations by the classifier, rather than asking for gradients.

    Raises:
        KeyError: for a name that the model does not have.
        ValueError: when no layer gives a map of the image, or the model has no head.
    """
    if not getattr(model, 'with_head', True):  # mmpretrain's: its output would pass for the maps of a segmentor
        raise ValueError(f'{type(model).__name__} has no head: it gives features, and no class to explain')
    if by_location and target_layer is None:
        target_layer = getattr(model, 'location_layer', None)
    wanted = None if target_layer is None else _named(model, target_layer, 'target_layer')
    own = getattr(model, 'location_classifier', None)
    seen = see(model, image, own if classifier is None else _named_linear(model, classifier))
    if seen.logits.ndim == 4:
        return Anatomy(None, '', None, 'mean', None, dense=True)
    picked, by_token = _last_read(candidates_of(seen), seen)
    if wanted is not None:
        picked = next((c for r in reversed(seen.records) if r.module is wanted and (c := _candidate(r, seen))), None)
    if picked is None:
        where = 'no layer' if wanted is None else f'layer {target_layer!r}'
        raise ValueError(
            f'{where} of {type(model).__name__} gives a map of an image of {image.shape[2]}x{image.shape[3]} pixels; '
            'name the layer whose output is a feature map as target_layer'
        )
    beside = _beside_tokens(seen) if by_location and wanted is None and seen.head is not None else None
    if beside is not None:
        return beside
    linear = _classifier_on(picked, seen, chosen=wanted is not None)
    pooling = 'own' if linear is not None and linear is own else 'other'
    if linear is not None and (linear is seen.cosine or getattr(linear, 'normalizes_features', False)):
        pooling = 'cosine'
    elif by_token:
        pooling = 'tokens'
    elif linear is not None and _same(seen.read if seen.linear is linear else seen.logits, picked.pooled()):
        pooling = 'mean'
    layer, layout = picked.record, picked.layout
    extra = layout.extra_tokens if layout.kind == 'tokens' else None
    return Anatomy(layer.module, layer.name, linear, pooling, layout.channels, extra, kind=layout.kind)


@dataclass
class Seen:
    """One forward pass: the layers that ran and what they ended in.

    Attributes:
        image: that was shown.
        records: all layers, in the order they finished.
        logits: (1, C).
        given: the classifier that the caller named or the model declares.
        head: where the classifier ran, None where no linear layer gives the logits.
        extra_tokens: that the model says to put before the patches.
        cosine: the linear layer on features of length one that a cosine classifier is.

    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> seen = see(nn.Sequential(*layers), torch.rand(1, 3, 16, 16), None)
    >>> seen.linear, seen.read.shape, [record.name for record in seen.before]
    (Linear(in_features=8, out_features=5, bias=True), torch.Size([1, 8]), ['0', '1', '2', '3'])
    """

    image: Tensor
    records: list[Record]
    logits: Tensor
    given: nn.Linear | None
    head: Record | None
    extra_tokens: int
    cosine: nn.Linear | None = None

    @property
    def linear(self) -> nn.Linear | None:
        """The classifier."""
        if self.cosine is not None:
            return self.cosine
        return self.given if self.head is None else self.head.module

    @property
    def read(self) -> Tensor:
        """(1, D), what the classifier reads, rather than what it gives: a fresh one may be all zeros."""
        return self.logits if self.head is None else self.head.inputs

    @property
    def score(self) -> Tensor:
        """A number that depends upon all that the classifier reads.

        Weighted, as the plain sum, or sum of squares, of a normalised vector does not depend upon anything.
        """
        weights = torch.arange(1, self.read.numel() + 1, device=self.read.device, dtype=self.read.dtype).cos()
        return (self.read * weights.view_as(self.read)).sum()

    @property
    def before(self) -> list[Record]:
        """The layers before the classifier."""
        return self.records if self.head is None else self.records[: self.records.index(self.head)]


def see(model: nn.Module, image: Tensor, given: nn.Linear | None) -> Seen:
    """Show a model noise of the image's size."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).to(image.device, image.dtype)
    noise.requires_grad_()
    records, logits = watch(model, noise)
    head = None if logits.ndim == 4 else _find_head(records, logits, given)
    cosine = None
    if head is None and given is None and logits.ndim == 2:
        head, cosine = _find_cosine(records, logits)
        scale = getattr(getattr(model, 'head', None), 's', None)  # of mmpretrain's margin heads, for predictions alone
        if cosine is not None and isinstance(scale, int | float) and scale > 0:
            cosine.weight.mul_(scale)
    return Seen(noise, records, logits, given, head, declared_tokens(model), cosine)


def _named(model: nn.Module, name: str, what: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        some = [key for key, _ in model.named_modules() if key and key.count('.') <= 1][-8:]
        raise KeyError(
            f'{what}={name!r} names no module of {type(model).__name__}; it has, for example, {", ".join(some)}'
        ) from None


def _named_linear(model: nn.Module, name: str) -> nn.Linear:
    linear = _named(model, name, 'classifier')
    if not isinstance(linear, nn.Linear):
        raise ValueError(f'classifier={name!r} is a {type(linear).__name__}; it must be a linear layer')
    return linear


def declared_tokens(model: nn.Module) -> int:
    """Class tokens and registers, as mmpretrain (num_extra_tokens), timm (num_prefix_tokens) or parameters say."""
    for module in model.modules():
        for key in ('num_extra_tokens', 'num_prefix_tokens'):
            if isinstance(getattr(module, key, None), int):
                return getattr(module, key)
    counts = [
        sum(p.shape[1] for name, p in module.named_parameters(recurse=False) if name in TOKENS and p.ndim == 3)
        for module in model.modules()
    ]
    return max(counts)


def _find_head(records: list[Record], logits: Tensor, given: nn.Linear | None) -> Record | None:
    """Where the classifier ran: the one given, else the last linear layer if its output is the model's."""
    if given is not None:
        return next((record for record in reversed(records) if record.module is given), None)
    for record in reversed(records):
        if isinstance(record.module, nn.Linear) and record.output.shape == logits.shape:
            return record if torch.equal(record.output, logits) else None
    return None


@torch.no_grad()
def _find_cosine(records: list[Record], logits: Tensor) -> tuple[Record | None, nn.Linear | None]:
    """The last layer whose weights give the logits as scaled cosines, k·cos(x, w_c), and its linear layer on x/|x|."""
    for record in reversed(records):
        weight, read = getattr(record.module, 'weight', None), record.inputs
        if not isinstance(weight, Tensor) or weight.ndim != 2 or read is None or read.ndim != 2:
            continue
        if weight.shape != (logits.shape[1], read.shape[1]):
            continue
        directions = F.normalize(weight.float(), dim=1)
        cosines = F.normalize(read.float(), dim=1) @ directions.T
        scale = (logits * cosines).sum() / cosines.square().sum().clamp(min=1e-12)
        if not torch.allclose(scale * cosines, logits.float(), rtol=1e-4, atol=1e-5) or not scale > 0:
            continue
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False).to(weight).requires_grad_(False)
        linear.weight.copy_(scale * directions)
        return record, linear
    return None, None


def _beside_tokens(seen: Seen) -> Anatomy | None:
    """The last layer whose class token, alone or beside the mean of its patches, is what the classifier reads."""
    linear, read = seen.linear, seen.read
    candidates = [c for c in candidates_of(seen) if c.layout.kind == 'tokens' and c.layout.extra_tokens]
    cosine = linear is seen.cosine or getattr(linear, 'normalizes_features', False)
    if linear is None or read.ndim != 2:
        return None
    for candidate in reversed(candidates):
        record, layout = candidate.record, candidate.layout
        found = Anatomy(
            record.module, record.name, linear, 'class_token', layout.channels, layout.extra_tokens, kind='tokens'
        )
        for token in range(layout.extra_tokens):
            own = record.output[:, token]
            if _same(read, own):
                found.pooling = 'cosine' if cosine else 'class_token'
                return found
            for first in (True, False):
                parts = [own, candidate.pooled()]
                if not cosine and _same(read, torch.cat(parts if first else parts[::-1], 1)):
                    found.pooling, found.joined = 'mean', (token, first)
                    return found
    return None


def _candidate(record: Record, seen: Seen) -> Candidate | None:
    """The output as a map of the image, preferably of the classifier's width; None where it is none."""
    shape, size = tuple(record.output.shape), (seen.image.shape[2], seen.image.shape[3])
    width = None if seen.linear is None else seen.linear.in_features
    layout = infer_layout(shape, size, width, seen.extra_tokens)
    layout = layout or infer_layout(shape, size, None, seen.extra_tokens)
    return None if layout is None or len(record.output) != 1 else Candidate(record, layout)


def candidates_of(seen: Seen) -> list[Candidate]:
    """The layers that may give the last map."""
    lengths = {record.output.shape[1] for record in seen.before if record.output.ndim == 3} - {1}
    found = []
    for record in seen.before:
        output = record.output
        if isinstance(record.module, SKIPPED) or not output.is_floating_point():
            continue
        if output.ndim == 4 and output.shape[2] in lengths:
            continue  # (1, heads, n, ...) of n tokens: attention, or what it reads
        candidate = _candidate(record, seen)
        if candidate is not None:
            found.append(candidate)
    # A vector behind the pooling may be kept as a 1x1 map; it is the map only where no layer gives a larger one.
    return [candidate for candidate in found if candidate.layout.size != (1, 1)] or found


def _last_read(candidates: list[Candidate], seen: Seen) -> tuple[Candidate | None, bool]:
    """The last candidate whose patches count, and whether in later ones only the tokens before them do."""
    by_token, score = False, seen.score
    for candidate in reversed(candidates):
        what = candidate.read_by(score)
        if what == 'patches':
            return candidate, by_token
        by_token |= what == 'tokens'
    if _slope(score, seen.image) is None:  # a frozen body, a head of zeros: nothing can be told, and the last map is it
        return (candidates[-1] if candidates else None), bool(candidates and candidates[-1].layout.extra_tokens)
    return None, by_token


def _slope(score: Tensor, output: Tensor) -> Tensor | None:
    """The gradient of a score by an output; None where it is zero or there is none."""
    if not (score.requires_grad and output.requires_grad):
        return None
    slope = torch.autograd.grad(score, output, allow_unused=True, retain_graph=True)[0]
    return None if slope is None or not slope.any() else slope


def _classifier_on(picked: Candidate, seen: Seen, chosen: bool) -> nn.Linear | None:
    """The linear layer that can be applied to each location of a map; ``chosen``: the caller named the map."""
    if seen.linear is None:
        return _identity(picked, seen.logits)
    if seen.linear.in_features != picked.layout.channels:
        return None
    told = chosen or seen.given is not None
    return None if not told and _weights_between(picked, seen) else seen.linear


def _weights_between(picked: Candidate, seen: Seen) -> bool:
    """Whether a linear layer or a convolution stands behind the map and before what the classifier reads."""
    behind, score = seen.before[seen.before.index(picked.record) + 1 :], seen.score
    return any(isinstance(r.module, nn.Linear | _ConvNd) and _slope(score, r.output) is not None for r in behind)


def _same(vector: Tensor, pooled: Tensor) -> bool:
    return vector.shape == pooled.shape and torch.allclose(vector, pooled, rtol=1e-4, atol=1e-5)


def _identity(picked: Candidate, logits: Tensor) -> nn.Linear | None:
    """The linear layer that changes nothing, where each class reads the channel of its number and no other."""
    classes = logits.shape[1]
    if picked.layout.channels != classes:
        return None
    for index in {0, classes - 1}:
        slope = _slope(logits[0, index], picked.record.output)
        if slope is None or picked.layout.to_map(slope).any(3).any(2).nonzero()[:, 1].tolist() != [index]:
            return None
    linear = nn.Linear(classes, classes, bias=False).to(logits).requires_grad_(False)
    nn.init.eye_(linear.weight)
    return linear
