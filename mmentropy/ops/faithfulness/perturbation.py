# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Does the score follow the map? The image seen through it, and with the pixels that it ranks removed one by one.

Notation: :math:`Y_c(x)` the score of class c (its probability, unless another score is asked for), :math:`E \in [0, 1]`
the map at the size of the network input, :math:`x \odot E` the image seen through it. All functions take a batch of
network inputs (N, 3, H, W), which are normalised, so that 0 is the data set's mean colour, and maps (N, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .imputation import impute
from .scoring import (
    Alteration,
    Model,
    ScoreFunction,
    alteration_scores,
    check_maps,
    image_scores,
)

#: What stands where pixels are removed: a name of :func:`baseline_image`, an image or images, or a function.
Baseline = str | Tensor | Callable[[Tensor], Tensor]
#: Shares of the pixels that ROAD removes.
ROAD_FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ROAD_NOISE = 0.01
#: RISE's blurred image.
BLUR_SIZE, BLUR_SIGMA = 11, 5.0


def baseline_image(images: Tensor, baseline: Baseline) -> Tensor:
    """What an image without any evidence is taken for.

    Args:
        images: (N, 3, H, W).
        baseline: ``zero`` (the data set's mean colour in normalised inputs), ``mean`` (each channel's mean in its
            image), ``blur`` (RISE's Gaussian of 11 pixels, σ = 5); a tensor that spreads over the images; or a function
            from images to one.

    Returns:
        (N, 3, H, W).

    Raises:
        ValueError: for another name, or a tensor of a shape that does not fit.

    >>> baseline_image(torch.tensor([[[[0.0, 4.0]]]]), 'mean')
    tensor([[[[2., 2.]]]])
    """
    if callable(baseline):
        baseline = baseline(images)
    if isinstance(baseline, Tensor):
        try:
            return baseline.detach().to(images).expand_as(images)
        except RuntimeError:
            raise ValueError(
                f'a baseline must spread over images {tuple(images.shape)}, got {tuple(baseline.shape)}'
            ) from None
    if baseline == 'zero':
        return torch.zeros_like(images)
    if baseline == 'mean':
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if baseline == 'blur':
        places = torch.arange(BLUR_SIZE, dtype=images.dtype, device=images.device) - BLUR_SIZE // 2
        line = torch.exp(-(places**2) / (2 * BLUR_SIGMA**2))
        line = (line / line.sum()).expand(images.shape[1], 1, 1, -1)
        half, groups = BLUR_SIZE // 2, images.shape[1]
        across = F.conv2d(F.pad(images, (half, half, 0, 0), mode='replicate'), line, groups=groups)
        return F.conv2d(F.pad(across, (0, 0, half, half), mode='replicate'), line.transpose(2, 3), groups=groups)
    raise ValueError(f'baseline must be zero, mean, blur, a tensor or a function, got {baseline!r}')


def removal_ranks(maps: Tensor) -> Tensor:
    """The place of each pixel when the largest values go first; equal values in the order of reading.

    Args:
        maps: (N, H, W).

    Returns:
        (N, H, W) long: 0 for the first pixel to go.

    >>> removal_ranks(torch.tensor([[[1.0, 3.0, 3.0]]]))
    tensor([[[2, 0, 1]]])
    """
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks.scatter_(1, order, torch.arange(order.shape[1], device=maps.device).expand_as(order))
    return ranks.view(maps.shape)


def removal_counts(pixels: int, steps: int) -> list[int]:
    """How many pixels are removed at each point of a curve: equal steps, the last one shorter.

    >>> removal_counts(10, steps=4)
    [0, 3, 6, 9, 10]
    """
    if not 1 <= steps <= pixels:
        raise ValueError(f'steps must lie between 1 and the number of pixels, {pixels}, got {steps}')
    return [*range(0, pixels, -(-pixels // steps)), pixels]


class SeenThrough(Alteration):
    """x ⊙ E.

    >>> seen = SeenThrough(torch.tensor([[[0.0, 0.5]]]))
    >>> seen.make(torch.full((1, 1, 1, 2), 4.0), torch.tensor([0]), torch.tensor([0])).flatten().tolist()
    [0.0, 2.0]
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps

    def make(self, images: Tensor, rows: Tensor, steps: Tensor) -> Tensor:
        return images[rows] * self.maps[rows, None]


class Removed(Alteration):
    """The first pixels of an order replaced by a baseline, or put into it.

    Args:
        ranks: (N, H, W) of :func:`removal_ranks`.
        counts: of these pixels, one a step.
        baseline: (N, 3, H, W).
        insert: the first pixels are those of the image, the others the baseline's.

    >>> removed = Removed(torch.tensor([[[1, 0, 2]]]), counts=[1, 2], baseline=torch.zeros(1, 1, 1, 3))
    >>> removed.make(torch.full((1, 1, 1, 3), 7.0), torch.tensor([0, 0]), torch.tensor([0, 1]))[:, 0, 0].tolist()
    [[7.0, 0.0, 7.0], [0.0, 0.0, 7.0]]
    """

    def __init__(self, ranks: Tensor, counts: Sequence[int], baseline: Tensor, insert: bool = False) -> None:
        self.ranks, self.baseline, self.insert = ranks, baseline, insert
        self.counts, self.count = torch.as_tensor(counts, device=ranks.device), len(counts)

    def make(self, images: Tensor, rows: Tensor, steps: Tensor) -> Tensor:
        first = (self.ranks[rows] < self.counts[steps][:, None, None])[:, None]
        inside, outside = (images, self.baseline) if self.insert else (self.baseline, images)
        return torch.where(first, inside[rows], outside[rows])


class Imputed(Alteration):
    """The first pixels of an order filled in from those around them, plus noise; see :func:`.imputation.impute`.

    Args:
        ranks: (N, H, W).
        counts: removed pixels, one a step.
        noise: (N, 3, H, W) added where pixels were removed.

    >>> ranks = torch.arange(9).view(1, 3, 3)
    >>> imputed = Imputed(ranks, counts=[4], noise=torch.zeros(1, 3, 3, 3))
    >>> made = imputed.make(torch.full((1, 3, 3, 3), 2.0), torch.tensor([0]), torch.tensor([0]))
    >>> bool(made.allclose(torch.tensor(2.0)))
    True
    """

    def __init__(self, ranks: Tensor, counts: Sequence[int], noise: Tensor) -> None:
        self.ranks, self.noise = ranks, noise
        self.counts, self.count = torch.as_tensor(counts, device=ranks.device), len(counts)

    def make(self, images: Tensor, rows: Tensor, steps: Tensor) -> Tensor:
        removed = self.ranks[rows] < self.counts[steps][:, None, None]
        return impute(images[rows], removed) + self.noise[rows] * removed[:, None]


def noise_of(images: Tensor, scale: float, seeds: Sequence[int]) -> Tensor:
    """Gaussian noise of each image by its own seed: the same in whatever batch and process an image is looked at.

    >>> one, two = noise_of(torch.zeros(2, 1, 4, 4), 0.1, seeds=[5, 7])
    >>> torch.equal(two, noise_of(torch.zeros(1, 1, 4, 4), 0.1, seeds=[7])[0]), torch.equal(one, two)
    (True, False)
    """
    if len(seeds) != len(images):
        raise ValueError(f'there must be one seed an image ({len(images)}), got {len(seeds)}')
    parts = [torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
    return scale * torch.stack(parts).to(images)


@dataclass(frozen=True)
class RemovalCurves:
    """Scores while pixels go, or come.

    Attributes:
        fractions: (S,) share of the pixels.
        scores: (N, S).

    >>> curve = RemovalCurves(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[1.0, 0.0, 0.0]]))
    >>> curve.area
    tensor([0.2500])
    """

    fractions: Tensor
    scores: Tensor

    @property
    def area(self) -> Tensor:
        """(N,) under the curve, by the trapezoid rule."""
        return torch.trapezoid(self.scores, self.fractions.to(self.scores), dim=1)


@dataclass(frozen=True)
class Perturbations:
    """What :func:`perturbation_scores` found; None for what was not asked.

    Attributes:
        original: (N,) Y(x).
        classes: (N,) that were asked about.
        seen: (N,) Y(x ⊙ E).
        deletion, insertion: curves.
        road_most, road_least: (N, P) Y at each share of :data:`ROAD_FRACTIONS`, the most and the least relevant pixels
            removed first.

    >>> found = Perturbations(torch.tensor([0.8]), torch.tensor([3]), seen=torch.tensor([0.6]))
    >>> round(found.drop.item(), 2)
    0.25
    """

    original: Tensor
    classes: Tensor
    seen: Tensor | None = None
    deletion: RemovalCurves | None = None
    insertion: RemovalCurves | None = None
    road_most: Tensor | None = None
    road_least: Tensor | None = None

    @property
    def drop(self) -> Tensor:
        """(N,) share of the score that is lost behind the map: max(0, Y(x) − Y(x ⊙ E)) / Y(x)."""
        return (self.original - _asked(self.seen, 'drop')).clamp(min=0) / self.original.clamp(min=1e-7)

    @property
    def increase(self) -> Tensor:
        """(N,) 1 where the score is larger behind the map, else 0."""
        return (_asked(self.seen, 'drop') > self.original).float()

    @property
    def road(self) -> Tensor:
        """(N,) (LeRF − MoRF) / 2, the mean over the shares."""
        return ((_asked(self.road_least, 'road') - _asked(self.road_most, 'road')) / 2).mean(1)


def _asked(scores: Tensor | None, name: str) -> Tensor:
    if scores is None:
        raise ValueError(f'{name!r} was not asked for: name it in which')
    return scores


#: What can be asked of :func:`perturbation_scores`.
PERTURBATIONS = ('drop', 'deletion', 'insertion', 'road')


def perturbation_scores(
    model: Model,
    images: Tensor,
    maps: Tensor,
    classes: Tensor | None = None,
    which: Sequence[str] = PERTURBATIONS,
    steps: int = 20,
    deletion_baseline: Baseline = 'zero',
    insertion_baseline: Baseline = 'blur',
    road_fractions: Sequence[float] = ROAD_FRACTIONS,
    road_noise: float = ROAD_NOISE,
    seeds: Sequence[int] | None = None,
    score: str | ScoreFunction = 'probability',
    batch_size: int | None = None,
) -> Perturbations:
    r"""All figures that alter the image, in as few forward passes as they need together.

    Each altered image is asked about once: Y(x) serves the drop and both curves, an empty image both curves where their
    baselines are the same, and copies of several images, of both curves and of ROAD share a forward pass.

    Args:
        model: the network in evaluation mode: (N, 3, H, W) to (N, C) logits, or these in a tuple or dict.
        images: (N, 3, H, W) normalised network inputs.
        maps: (N, H, W) at their size; in [0, 1] for the drop.
        classes: (N,) the class asked about; None for the predicted one.
        which: of :data:`PERTURBATIONS`.
        steps: of the curves: at most so many intervals of equal width.
        deletion_baseline, insertion_baseline: see :func:`baseline_image`.
        road_fractions: shares of the pixels that ROAD removes.
        road_noise: standard deviation of the noise on imputed pixels, in units of the normalised input.
        seeds: of the noise, one an image; None numbers them.
        score: of the class: a name of :data:`~mmentropy.ops.mapping.score_functions.SCORE_FUNCTIONS`, or a function of
            logits (N, C) and classes (N, 1); the drop is a share of it, which asks for a positive one.
        batch_size: altered images in a forward pass; None: as many as suit the device, see
            :func:`~.scoring.usual_batch`.

    Raises:
        ValueError: for maps that do not fit, NaN, constant ones where pixels are ranked, a model of one class.

    Sources: Chattopadhay et al. (Grad-CAM++, WACV 2018) for the drop, Petsiuk et al. (RISE, BMVC 2018) for the curves,
    Rong et al. (ROAD, ICML 2022).

    >>> model = lambda x: torch.stack([x[:, 0, 0, 0], 0 * x[:, 0, 0, 0]], 1)  # reads the first pixel
    >>> maps = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    >>> found = perturbation_scores(model, torch.full((1, 3, 2, 2), 9.0), maps, which=('drop', 'deletion'), steps=4)
    >>> found.drop, found.deletion.scores.round(decimals=2)
    (tensor([0.]), tensor([[1.0000, 0.5000, 0.5000, 0.5000, 0.5000]]))
    """
    wrong = sorted(set(which) - set(PERTURBATIONS))
    if wrong or not which:
        raise ValueError(f'which must name some of {", ".join(PERTURBATIONS)}, got {list(which)}')
    ranked = any(name != 'drop' for name in which)
    maps = check_maps(images, maps, unit='drop' in which, ordered=ranked)
    original, classes = image_scores(model, images, classes, score, batch_size)
    series: dict[str, Alteration] = {'seen': SeenThrough(maps)} if 'drop' in which else {}
    ranks, pixels = removal_ranks(maps), maps[0].numel()
    counts = removal_counts(pixels, steps) if {'deletion', 'insertion'} & set(which) else []
    empty = {
        name: baseline_image(images, baseline)
        for name, baseline in (('deletion', deletion_baseline), ('insertion', insertion_baseline))
        if name in which
    }
    one_empty = len(empty) == 2 and torch.equal(*empty.values())
    for name, picture in empty.items():
        series[name] = Removed(ranks, counts[1:-1], picture, insert=name == 'insertion')
        if name == 'deletion' or not one_empty:
            series[f'empty {name}'] = Removed(ranks, [pixels], picture)
    if 'road' in which:
        removed = [_road_count(pixels, fraction) for fraction in road_fractions]
        noise = noise_of(images, road_noise, range(len(images)) if seeds is None else seeds)
        series['most'] = Imputed(ranks, removed, noise)
        series['least'] = Imputed(pixels - 1 - ranks, removed, noise)
    found = alteration_scores(model, images, classes, series, score, batch_size)

    def curve(name: str) -> RemovalCurves | None:
        if name not in which:
            return None
        nothing = found['empty deletion' if one_empty else f'empty {name}']
        first, last = (nothing, original[:, None]) if name == 'insertion' else (original[:, None], nothing)
        return RemovalCurves(
            torch.tensor(counts, device=images.device) / pixels, torch.cat([first, found[name], last], 1)
        )

    return Perturbations(
        original,
        classes,
        found['seen'][:, 0] if 'seen' in found else None,
        curve('deletion'),
        curve('insertion'),
        found.get('most'),
        found.get('least'),
    )


def _road_count(pixels: int, fraction: float) -> int:
    if not 0 < fraction < 1:
        raise ValueError(f'a share of the pixels that ROAD removes lies between 0 and 1, got {fraction}')
    # The pixels not below the (1 − f) quantile of the ranks, with linear interpolation: as the reference counts them.
    count = pixels - math.ceil(round((1 - fraction) * (pixels - 1), 6))
    return min(max(count, 1), pixels - 1)
