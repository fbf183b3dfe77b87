# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
r"""Does a map change when it should, and stay when it should? Other weights, another class, a little noise.

These figures explain again: ``explain(images, classes)`` gives maps (N, H, W) of the model as it is at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .agreement import pearson, spearman, ssim

#: (N, 3, H, W) images and (N,) classes to (N, H, W) maps.
Explain = Callable[[Tensor, Tensor], Tensor]


def coherency(maps: Tensor, again: Tensor) -> Tensor:
    """Correlation of the map of x with the map of x ⊙ E, from 0 (opposite) over ½ (unrelated) to 1 (the same).

    Args:
        maps: (N, H, W) maps E of the images.
        again: (N, H, W) maps of the images seen through them.

    >>> coherency(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor([0.])
    """
    return (pearson(maps, again) + 1) / 2


def adcc(coherency: Tensor, maps: Tensor, drop: Tensor) -> Tensor:
    r"""Harmonic mean of coherency, 1 − complexity and 1 − drop; here complexity is the mean of the map.

    Args:
        coherency: (N,) of :func:`coherency`.
        maps: (N, H, W) in [0, 1].
        drop: (N,) share of the score that is lost behind the map.

    Returns:
        (N,) in [0, 1]; 0 where one of the three is 0.

    Source: Poppi et al., "Revisiting the evaluation of class activation mapping for explainability" (CVPR-W 2021).

    >>> adcc(torch.tensor([1.0]), torch.tensor([[[0.5, 0.5]]]), torch.tensor([0.5]))
    tensor([0.6000])
    """
    parts = torch.stack([coherency, 1 - maps.flatten(1).abs().mean(1), 1 - drop]).clamp(0, 1)
    # A part of 0 makes the mean 0 without a division by it.
    return torch.where((parts > 0).all(0), 3 / (1 / parts.clamp(min=1e-12)).sum(0), 0.0)


@contextmanager
def randomized(model: nn.Module, names: Sequence[str], seed: int = 0) -> Iterator[None]:
    """Draw the parameters of these modules anew, and put the old ones back on the way out.

    Each parameter becomes normal noise of its own mean and standard deviation, so that activations keep their size and
    the statistics of batch norms still fit. The draw depends on the seed and the parameter's name alone.

    >>> layer = nn.Linear(4, 4)
    >>> before = layer.weight.detach().clone()
    >>> with randomized(layer, ['']):
    ...     changed = not torch.equal(layer.weight, before)
    >>> changed, torch.equal(layer.weight, before)
    (True, True)
    """
    modules = dict(model.named_modules())
    kept: list[tuple[nn.Parameter, Tensor]] = []
    places = {name: number for number, (name, _) in enumerate(model.named_parameters())}
    try:
        for name in names:
            for own, parameter in modules[name].named_parameters(recurse=False):
                place = places.get(f'{name}.{own}' if name else own)
                if place is None:  # shared, and listed under its first name
                    continue
                kept.append((parameter, parameter.detach().clone()))
                generator = torch.Generator().manual_seed(seed * 1_000_003 + place)
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                spread = parameter.detach().std(correction=0)
                parameter.data.copy_(parameter.detach().mean() + spread * noise)
        yield
    finally:
        for parameter, values in kept:
            parameter.data.copy_(values)


def layers_from_the_top(model: nn.Module) -> list[str]:
    """Names of the modules with parameters of their own, the last registered first.

    >>> layers_from_the_top(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Linear(8, 5)))
    ['2', '0']
    """
    owners = [
        name for name, module in model.named_modules() if next(module.parameters(recurse=False), None) is not None
    ]
    if not owners:
        raise ValueError(f'{type(model).__name__} has no parameters that could be drawn anew')
    return owners[::-1]


@dataclass(frozen=True)
class Similarity:
    """How alike the maps still are.

    Attributes:
        rank: (N,) Spearman's correlation of the absolute values.
        ssim: (N,) structural similarity of the maps, each brought to [0, 1].
    """

    rank: Tensor
    ssim: Tensor


def map_similarity(maps: Tensor, others: Tensor) -> Similarity:
    """Rank correlation and SSIM of two batches (N, H, W) of maps.

    >>> maps = torch.rand(2, 9, 9)
    >>> map_similarity(maps, 3 * maps).rank, map_similarity(maps, 3 * maps).ssim.round(decimals=4)
    (tensor([1., 1.]), tensor([1., 1.]))
    """
    return Similarity(spearman(maps, others), ssim(_unit(maps), _unit(others)))


def _unit(maps: Tensor) -> Tensor:
    low, high = maps.flatten(1).amin(1)[:, None, None], maps.flatten(1).amax(1)[:, None, None]
    return (maps - low) / torch.where(high > low, high - low, 1)


def parameter_randomization(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    explain: Explain,
    classes: Tensor,
    stages: int = 4,
    seed: int = 0,
) -> Similarity:
    """How alike maps stay while the layers are drawn anew, from the top down, a share of them more at each stage.

    A map that does not change with the weights explains nothing: small is good. The mean over the stages is given; the
    last stage has drawn all layers. The model is as before afterwards.

    Args:
        model: the network whose maps ``explain`` gives.
        images, classes: (N, 3, H, W), (N,).
        maps: (N, H, W) of the model as it is.
        explain: gives the maps of the model as it is at that moment.
        stages: looks, evenly spaced over the layers.
        seed: of the draw.

    Source: Adebayo et al., "Sanity checks for saliency maps" (NeurIPS 2018), cascading randomization.

    >>> model = nn.Conv2d(3, 1, 1, bias=False)
    >>> edges = lambda images, classes: images.mean(1)  # an edge detector asks no model
    >>> images, classes = torch.rand(2, 3, 9, 9), torch.zeros(2, dtype=torch.long)
    >>> parameter_randomization(model, images, edges(images, classes), edges, classes).rank
    tensor([1., 1.])
    """
    names = layers_from_the_top(model)
    if stages < 1:
        raise ValueError(f'stages counts looks and is at least 1, got {stages}')
    found = []
    for last in sorted({-(-len(names) * (stage + 1) // stages) for stage in range(stages)}):
        with randomized(model, names[:last], seed):
            found.append(map_similarity(maps, explain(images, classes)))
    return Similarity(torch.stack([s.rank for s in found]).mean(0), torch.stack([s.ssim for s in found]).mean(0))


def other_classes(classes: Tensor, num_classes: int, seeds: Sequence[int]) -> Tensor:
    """Another class of each image, drawn by its seed.

    Raises:
        ValueError: for a model of one class.

    >>> other_classes(torch.tensor([0, 1]), 2, seeds=[3, 4])
    tensor([1, 0])
    """
    if num_classes < 2:
        raise ValueError('the model has one class: there is no other one whose map could differ')
    steps = [int(torch.randint(1, num_classes, (), generator=torch.Generator().manual_seed(int(s)))) for s in seeds]
    return (classes + torch.tensor(steps, device=classes.device)) % num_classes


def random_logit(
    images: Tensor, maps: Tensor, explain: Explain, classes: Tensor, num_classes: int, seeds: Sequence[int]
) -> Similarity:
    """How alike the map is to that of another class, drawn at random; small is good, 1 says that no class is meant.

    Args:
        images, classes: (N, 3, H, W), (N,).
        maps: (N, H, W) of these classes.
        explain: gives maps.
        num_classes: of the model.
        seeds: one an image.

    Source: Sixt et al., "When explanations lie" (ICML 2020).

    >>> by_class = lambda images, classes: torch.stack([image[c] for image, c in zip(images, classes)])
    >>> images = torch.stack([torch.arange(9.0).view(3, 3), -torch.arange(9.0).view(3, 3)])[None]
    >>> random_logit(images, images[:, 0], by_class, torch.tensor([0]), num_classes=2, seeds=[0]).rank
    tensor([-1.])
    """
    return map_similarity(maps, explain(images, other_classes(classes, num_classes, seeds)))


def max_sensitivity(
    images: Tensor,
    maps: Tensor,
    explain: Explain,
    classes: Tensor,
    radius: float = 0.2,
    samples: int = 10,
    seeds: Sequence[int] | None = None,
) -> Tensor:
    r"""The largest change of the map under small noise, :math:`\max_\delta \|E(x + \delta) - E(x)\| / \|E(x)\|`.

    Args:
        images, classes: (N, 3, H, W), (N,).
        maps: (N, H, W) of the images.
        explain: gives maps.
        radius: each value of the input moves by uniform noise of at most so much.
        samples: draws of the noise.
        seeds: of the noise, one an image; None numbers them.

    Returns:
        (N,); NaN for a map of zeros, whose change has no scale.

    Source: Yeh et al., "On the (in)fidelity and sensitivity of explanations" (NeurIPS 2019).

    >>> images = torch.ones(1, 3, 4, 4)
    >>> max_sensitivity(images, images[:, 0], lambda x, classes: 0 * x[:, 0] + 1, torch.tensor([0]))
    tensor([0.])
    """
    if samples < 1 or radius <= 0:
        raise ValueError(f'samples is at least 1 and radius above 0, got {samples} and {radius}')
    seeds = range(len(images)) if seeds is None else seeds
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    worst = torch.zeros(len(images), device=images.device)
    for _ in range(samples):
        noise = torch.stack([torch.rand(images.shape[1:], generator=one) for one in generators])
        changed = explain(images + radius * (2 * noise - 1).to(images), classes)
        worst = torch.maximum(worst, (changed - maps).flatten(1).norm(dim=1))
    return worst / maps.flatten(1).norm(dim=1)
