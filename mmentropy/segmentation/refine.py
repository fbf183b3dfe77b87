# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Refiners: each reads scores with a background and writes better ones, so any chain of them is possible."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from mmentropy.ops.mapping.scaling import resize_map
from mmentropy.ops.refining.affinity import color_affinity, edge_affinity, feature_affinity, neighbor_offsets
from mmentropy.ops.refining.dense_crf import Bilateral, Gaussian, dense_crf, unary_from_labels, unary_from_probability
from mmentropy.ops.refining.pixel_adaptive import pixel_adaptive_refinement
from mmentropy.ops.refining.random_walk import random_walk, sparse_affinity, transition_matrix
from mmentropy.ops.refining.region_growing import grow_regions
from mmentropy.ops.seeding.seeds import power_background, scale_to_peak, to_probabilities
from mmentropy.registry import STAGES

from .files import ImageMaps, read_grey
from .stage import Context, ScoreStage


class Refiner(ScoreStage):
    """Reads scores with a background from its source, and writes :meth:`refine` of them."""

    @abstractmethod
    def refine(self, ctx: Context, key: str, scores: ImageMaps, image: np.ndarray) -> np.ndarray:
        """(K + 1, h, w) new scores, of any resolution."""

    def process(self, ctx: Context, key: str) -> None:
        scores = ImageMaps.load(ctx.folder(self.source) / f'{key}.npz')
        if not scores.background:
            raise ValueError(f'{key}: {self.source} wrote class maps without a background; put a Seed stage between')
        image = ctx.data.image(key)
        if image.shape[:2] != scores.size:
            raise ValueError(f'{key}: the image has size {image.shape[:2]}, its maps were made for {scores.size}')
        refined = self.refine(ctx, key, scores, image)
        ImageMaps(scores.labels, refined, scores.size, scores.entropy, True).save(self.output(ctx, key))


def at_image_size(scores: ImageMaps) -> np.ndarray:
    """(K + 1, H, W) probabilities at the image's size."""
    return to_probabilities(resize_map(scores.probabilities(), scores.size, 'bilinear'))


def pydensecrf_marginals(
    unary: np.ndarray, image: np.ndarray, kernels: Sequence[Gaussian | Bilateral], iterations: int
) -> np.ndarray:
    """:func:`~mmentropy.ops.refining.dense_crf.dense_crf` by the usual package; symmetric normalisation only.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError:
        raise ImportError(
            "backend='pydensecrf' needs `pip install pydensecrf2`; backend='numba' needs nothing"
        ) from None
    labels, height, width = unary.shape
    model = DenseCRF2D(width, height, labels)
    model.setUnaryEnergy(np.ascontiguousarray(unary.reshape(labels, -1)))
    for kernel in kernels:
        if isinstance(kernel, Bilateral):
            rgb = np.ascontiguousarray(image)
            model.addPairwiseBilateral(sxy=kernel.sxy, srgb=kernel.srgb, rgbim=rgb, compat=kernel.compat)
        else:
            model.addPairwiseGaussian(sxy=kernel.sxy, compat=kernel.compat)
    return np.array(model.inference(iterations)).reshape(unary.shape)


@STAGES.register_module()
class CrfRefine(Refiner):
    """Dense CRF at the image's size.

    Args:
        name, source: see :class:`Stage`.
        confidence: the unary's trust in the best label (0.7 as in IRN); None takes the scores as probabilities (PSA).
        gaussian: (sxy, compat) of the smoothness kernel.
        bilateral: (sxy, srgb, compat) of the appearance kernel.
        iterations: of the mean field.
        backend: ``numba``, or ``pydensecrf`` where it is installed.

    >>> stage = STAGES.build(dict(type='CrfRefine', source='seed', gaussian=(3, 3), bilateral=(50, 5, 10)))
    >>> stage.name, stage.kernels[1].srgb
    ('crf', 5)
    """

    SECONDS, BYTES = 0.6, 120_000

    def __init__(
        self,
        name: str = 'crf',
        source: str | None = None,
        confidence: float | None = 0.7,
        gaussian: Sequence[float] = (3, 3),
        bilateral: Sequence[float] = (50, 5, 10),
        iterations: int = 10,
        backend: str = 'numba',
    ) -> None:
        super().__init__(name, source)
        if backend not in ('numba', 'pydensecrf'):
            raise ValueError(f"{name}: backend must be 'numba' or 'pydensecrf', got {backend!r}")
        self.confidence, self.iterations, self.backend = confidence, iterations, backend
        self.kernels = Gaussian(*gaussian), Bilateral(*bilateral)

    def refine(self, ctx: Context, key: str, scores: ImageMaps, image: np.ndarray) -> np.ndarray:
        probability = at_image_size(scores)
        if self.confidence is None:
            unary = unary_from_probability(probability)
        else:
            unary = unary_from_labels(probability.argmax(axis=0), len(probability), self.confidence)
        if self.backend == 'pydensecrf':
            return pydensecrf_marginals(unary, image, self.kernels, self.iterations)
        return dense_crf(unary, image, self.kernels, self.iterations, threads=1 if ctx.jobs > 1 else None)


@STAGES.register_module()
class PixelAdaptiveRefine(Refiner):
    """Pixel-adaptive refinement, in torch on the run's device.

    Args:
        name, source: see :class:`Stage`.
        dilations, iterations, sharpness: of :func:`~mmentropy.ops.refining.pixel_adaptive.pixel_adaptive_refinement`.
        stride: work at 1/stride of the image's size.

    >>> stage = STAGES.build(dict(type='PixelAdaptiveRefine', source='seed', dilations=[1, 2], stride=4))
    >>> stage.name, stage.dilations
    ('pixel_adaptive', (1, 2))
    """

    SECONDS, BYTES = 0.5, 60_000

    def __init__(
        self,
        name: str = 'pixel_adaptive',
        source: str | None = None,
        dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
        iterations: int = 10,
        sharpness: float = 0.1,
        stride: int = 1,
    ) -> None:
        super().__init__(name, source)
        self.dilations, self.iterations, self.sharpness, self.stride = tuple(dilations), iterations, sharpness, stride

    def refine(self, ctx: Context, key: str, scores: ImageMaps, image: np.ndarray) -> np.ndarray:
        probability, image = shrink(scores, image, self.stride)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float().to(ctx.device)
        start = torch.from_numpy(probability)[None].to(ctx.device)
        refined = pixel_adaptive_refinement(start, pixels, self.dilations, self.iterations, self.sharpness)
        return refined[0].cpu().numpy()


def shrink(scores: ImageMaps, image: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and image at 1/stride of the image's size."""
    size = -(-scores.size[0] // stride), -(-scores.size[1] // stride)
    small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA) if stride > 1 else image
    probability = to_probabilities(resize_map(scores.probabilities(), size, 'bilinear'))
    return probability, np.ascontiguousarray(small)


@STAGES.register_module()
class RandomWalkRefine(Refiner):
    r"""Random walk on an affinity. The classes' scores walk; the background is then :math:`(1 - \max)^\alpha` of the
    result divided by its maximum, or keeps its own walked score with ``alpha=None``.

    Args:
        name, source: see :class:`Stage`.
        affinity: name of the stage that trained an AffinityNet; ``color`` for the image's colours alone; ``edges`` for
            those of another program.
        edges: folder of ``<id>.png`` for ``edges``: grey images of the image's size, white on an edge (IRN's class
            boundaries, HED). A pair is as near as the strongest edge on its path is weak.
        radius: of the pairs, in locations.
        stride: of the locations, in pixels.
        beta, log_steps: of the walk.
        sigma: of ``color``, in grey levels.
        alpha: see above.

    Raises:
        ValueError: for ``edges`` without their folder, or a folder without ``edges``.

    >>> STAGES.build(dict(type='RandomWalkRefine', source='seed', affinity='affinity_net')).needs
    ['seed', 'affinity_net']
    """

    SECONDS = 0.6

    def __init__(
        self,
        name: str = 'walk',
        source: str | None = None,
        affinity: str = 'color',
        radius: float = 5,
        stride: int = 8,
        beta: float = 8.0,
        log_steps: int = 8,
        sigma: float = 30.0,
        alpha: float | None = None,
        edges: str | None = None,
    ) -> None:
        super().__init__(name, source)
        if (affinity == 'edges') != (edges is not None):
            raise ValueError(f"{name}: affinity='edges' and edges=<folder of the edge maps> go together")
        self.affinity, self.radius, self.stride, self.edges = affinity, radius, stride, edges
        self.beta, self.log_steps, self.sigma, self.alpha = beta, log_steps, sigma, alpha
        self._network: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_network': None}

    @property
    def needs(self) -> list[str]:
        return super().needs + ([] if self.affinity in ('color', 'edges') else [self.affinity])

    def edge_path(self, key: str) -> Path:
        """Of the image's edge map."""
        return Path(self.edges or '', f'{key}.png')

    def made_from(self, ctx: Context, key: str) -> list[Path]:
        return super().made_from(ctx, key) + ([self.edge_path(key)] if self.edges else [])

    def pairs(self, ctx: Context, key: str, image: np.ndarray, small: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """(P, h, w) affinities of the locations."""
        if self.affinity == 'color':
            return color_affinity(small, offsets, self.sigma)
        if self.affinity == 'edges':
            edge = read_grey(self.edge_path(key), (image.shape[0], image.shape[1]), 'edge map')
            strongest = F.adaptive_max_pool2d(torch.from_numpy(edge)[None], small.shape[:2])  # a thin edge is one, too
            return edge_affinity(strongest, offsets)[0].numpy()
        if self._network is None:
            from .training import load_host_model

            self._network = load_host_model(ctx.folder(self.affinity), ctx.device)
        with torch.inference_mode():
            features = self._network.describe(torch.from_numpy(image).permute(2, 0, 1)[None], small.shape[:2])
        return feature_affinity(features, offsets)[0].cpu().numpy()

    def refine(self, ctx: Context, key: str, scores: ImageMaps, image: np.ndarray) -> np.ndarray:
        probability, small = shrink(scores, image, self.stride)
        offsets = neighbor_offsets(self.radius)
        transition = transition_matrix(sparse_affinity(self.pairs(ctx, key, image, small, offsets), offsets), self.beta)
        device = None if ctx.device == 'cpu' else ctx.device
        walked = random_walk(probability, transition, self.log_steps, device)
        if self.alpha is not None:
            classes = scale_to_peak(walked[1:])
            walked = np.concatenate([power_background(classes, self.alpha)[None], classes])
        return walked


@STAGES.register_module()
class GrowRefine(Refiner):
    """DSRG's growing: confident seeds spread into connected locations where the scores are high.

    Args:
        name, source: see :class:`Stage`.
        seed_confidence: a location whose best probability is at least this is a cue.
        fg_threshold, bg_threshold: of the growing.
        keep: share of the former scores in the new ones; what nothing reached keeps only them.

    >>> STAGES.build(dict(type='GrowRefine', source='seed', seed_confidence=0.8)).needs
    ['seed']
    """

    SECONDS = 0.05

    def __init__(
        self,
        name: str = 'grow',
        source: str | None = None,
        seed_confidence: float = 0.9,
        fg_threshold: float = 0.6,
        bg_threshold: float = 0.7,
        keep: float = 0.5,
    ) -> None:
        super().__init__(name, source)
        self.seed_confidence, self.keep = seed_confidence, keep
        self.fg_threshold, self.bg_threshold = fg_threshold, bg_threshold

    def refine(self, ctx: Context, key: str, scores: ImageMaps, image: np.ndarray) -> np.ndarray:
        probability = scores.probabilities()
        best = np.arange(len(probability))[:, None, None] == probability.argmax(axis=0)
        cues = best & (probability >= self.seed_confidence)
        everything = np.ones(len(probability), bool)
        grown = grow_regions(cues, probability, everything, self.fg_threshold, self.bg_threshold)
        return self.keep * probability + (1 - self.keep) * grown
