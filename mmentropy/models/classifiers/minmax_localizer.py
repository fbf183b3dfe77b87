# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Min-max entropy localisation: a mask that keeps what the classifier needs and leaves it nothing in the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmentropy.models.heads.wildcat_head import WildcatHead
from mmentropy.models.option_groups import name_keywords, take_group
from mmentropy.ops.certainty.barrier import area_barrier
from mmentropy.ops.certainty.entropy import softmax_entropy
from mmentropy.ops.certainty.regularizers import uniform_divergence
from mmentropy.ops.erasing.recursive import Erased, expected_map, pseudo_threshold, recursive_erasing
from mmentropy.ops.refining.dense_crf import Bilateral, Gaussian, dense_crf, unary_from_probability
from mmentropy.registry import MODELS
from mmentropy.structures import CAM_LABELS, CAMS, ENTROPY_MAP

from .localization_classifier import LocalizationClassifier, complete_head

#: What the classifier's prediction on the rest is pushed by, and the weight that its version of the paper gives.
REST_LOSSES = {'sem': 1e-7, 'eem': 1e-7, 'ce_uniform': 1.0}

WILDCAT = dict(type='mmentropy.WildcatHead', maps_per_class=5, kmax=0.09)


@dataclass
class Mask:
    """How M's maps become a mask; see :func:`~mmentropy.ops.erasing.recursive.pseudo_threshold`.

    Attributes:
        omega, sigma: steepness and threshold.
        detach: the mask is a constant for C's losses; M then learns from its labels alone, and from C only through the
            shared backbone.

    >>> Mask(omega=4.0, detach=True)
    Mask(omega=4.0, sigma=0.5, detach=True)
    """

    omega: float = 8.0
    sigma: float = 0.5
    detach: bool = False

    def __post_init__(self) -> None:
        if self.omega <= 0:
            raise ValueError(f'MinMaxLocalizer: omega of the mask must be > 0, got {self.omega}')


@dataclass
class Rest:
    """What C should make of the image without the mask.

    Attributes:
        loss: ``sem`` and ``ce_uniform`` cross-entropy to the uniform distribution, ``eem`` minus the entropy itself.
        weight: λ; None takes 1e-7 for ``sem`` and ``eem`` (journal), 1 for ``ce_uniform`` (first version). 0 leaves
            the pass out.

    >>> Rest().weight, Rest('ce_uniform').weight
    (1e-07, 1.0)
    """

    loss: str = 'sem'
    weight: float | None = None

    def __post_init__(self) -> None:
        if self.loss not in REST_LOSSES:
            raise ValueError(f'MinMaxLocalizer: rest needs a loss of {sorted(REST_LOSSES)}, got {self.loss!r}')
        if self.weight is None:
            self.weight = REST_LOSSES[self.loss]


@dataclass
class Barrier:
    """The log barrier on the areas of both sides; see :func:`~mmentropy.ops.certainty.barrier.area_barrier`.

    Attributes:
        enabled: ``barrier=None`` in a config is False.
        t: its sharpness; a ``MinMaxScheduleHook`` changes it.

    >>> Barrier(t=2.0)
    Barrier(enabled=True, t=2.0)
    """

    enabled: bool = True
    t: float = 5.0

    def __post_init__(self) -> None:
        if self.t <= 0:
            raise ValueError(f'MinMaxLocalizer: t of the barrier must be > 0, got {self.t}')


@dataclass
class Erasing:
    """Options of recursive erasing; see :func:`~mmentropy.ops.erasing.recursive.recursive_erasing`.

    Attributes:
        steps: u, passes of the localizer; 0 is off.
        sigma: decay of the trust over the passes.
        start_epoch: first epoch (from 0) with erasing; ``MinMaxScheduleHook`` tells the model the epoch.
        initial: ``zero`` or ``mask``.
        through_images: gradients through the erased images too.
        recompute: compute a pass again in the backward; False keeps all activations (same result, more memory).

    >>> Erasing(steps=2).initial
    'zero'
    """

    steps: int = 4
    sigma: float = 10.0
    start_epoch: int = 1
    initial: str = 'zero'
    through_images: bool = False
    recompute: bool = True

    def __post_init__(self) -> None:
        if self.steps < 0 or self.sigma <= 0 or self.start_epoch < 0 or self.initial not in ('zero', 'mask'):
            raise ValueError(
                "erasing needs steps >= 0, sigma > 0, start_epoch >= 0 and initial 'zero' or 'mask', got " + repr(self)
            )


@dataclass
class Crf:
    """Options of the dense CRF that sharpens predicted masks.

    Attributes:
        gaussian: (sxy, compat) of the smoothness kernel.
        bilateral: (sxy, srgb, compat) of the appearance kernel.
        iterations: of the mean field.

    >>> Crf(iterations=0).refine(torch.full((1, 2, 2), 0.75), torch.zeros(3, 2, 2)).unique()
    tensor([0.7500])
    """

    gaussian: tuple[float, float] = (3.0, 3.0)
    bilateral: tuple[float, float, float] = (80.0, 13.0, 10.0)
    iterations: int = 10

    def refine(self, mask: Tensor, image: Tensor) -> Tensor:
        """(1, H, W) mask as the marginal of the object; ``image`` (3, H, W) in grey levels."""
        foreground = mask[0].float().cpu().numpy()
        pixels = image.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
        unary = unary_from_probability(np.stack([1 - foreground, foreground]))
        kernels = (Gaussian(*self.gaussian), Bilateral(*self.bilateral))
        return torch.from_numpy(dense_crf(unary, pixels, kernels, self.iterations)[1:]).to(mask.device)


#: The barrier's options where a config says nothing.
ON: dict = {}

#: The groups of options, and the flat names of some: flat name → option.
GROUPS = {'mask': Mask, 'rest': Rest, 'barrier': Barrier, 'erasing': Erasing, 'crf': Crf}
FLAT = {
    'mask': {'omega': 'omega', 'sigma': 'sigma', 'detach_mask': 'detach'},
    'rest': {'negative': 'loss', 'negative_weight': 'weight'},
    'barrier': {'area_constraint': 'enabled', 'barrier_t': 't'},
    'erasing': {'recompute': 'recompute'},
    'crf': {},
}
DEFAULTS = {word: getattr(GROUPS[name], option) for name, words in FLAT.items() for word, option in words.items()}


def take_options(name: str, given: dict | None, kwargs: dict) -> Any:
    """One group of the options, from its dict and from flat names."""
    return take_group('MinMaxLocalizer', name, GROUPS[name], given, kwargs, FLAT[name])


@MODELS.register_module()
class MinMaxLocalizer(LocalizationClassifier):
    r"""Min-max entropy localisation with recursive erasing (arXiv 1907.12934; IEEE TMI 2022; from the formulae alone).

    A localizer M makes a mask R, a classifier C sees the image through it; they share the backbone. In training

    .. math:: L = CE(y, C(X R)) + \lambda\,\mathcal R(C(X (1 - R))) + \psi_t(-s^+) + \psi_t(-s^-) + \sum_t CE(y, M(X_t))

    In validation and test there is one pass without erasing: ``pred_score`` and ``pred_label`` come from C(X R),
    ``cams`` is the mask R (1, H, W) at the size of the input, ``cam_labels`` is −1 (no class's own), and
    ``entropy_map`` is the location entropy of M's class maps.

    The passes of recursive erasing are one graph whose activations are not kept: each pass is computed again when its
    gradient is due. So the gradients are accumulated pass by pass in a single backward call, memory does not grow with
    the passes, and mixed precision, gradient accumulation and DDP (one reduction, when the last pass has added its
    part) work as for any other model.

    The mask is trained through and has learned its own place, and it is a probability: it has no ``map_grid`` and is
    drawn and read as it is.

    Args:
        backbone, neck, head, pretrained, train_cfg, data_preprocessor, init_cfg: as in ``LocalizationClassifier``; neck
            and head are C's. The default head is WILDCAT's without a neck; to pool by entropy instead, set
            ``neck=dict(type='mmentropy.EntropyPooling')`` and ``head=dict(type='mmentropy.CAMHead')``.
        localizer: M's head, a ``WildcatHead``.
        mask: options of :class:`Mask`.
        rest: options of :class:`Rest`.
        barrier: options of :class:`Barrier`; None is off.
        erasing: options of :class:`Erasing`; None is off.
        crf: options of :class:`Crf`, which then sharpens the predicted masks (not what C sees); None is off.
        input_scale: factor of C's input.
        **kwargs: of the base; and the groups' options by the flat names of :data:`FLAT`: ``omega``, ``sigma``,
            ``detach_mask``, ``negative``, ``negative_weight``, ``area_constraint``, ``barrier_t``, ``recompute``. An
            option that is given both ways is an error.

    Raises:
        ValueError: for options that do not fit; in training, for a sample without exactly one label; in training and
            prediction for an image with NaN or infinite values, by its path.

    >>> backbone = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
    >>> model = MinMaxLocalizer(backbone, data_preprocessor=dict(num_classes=3), erasing=dict(steps=2)).eval()
    >>> sample = model.predict(torch.zeros(1, 3, 64, 64), [DataSample()])[0]
    >>> sample.cams.shape, sample.cam_labels.tolist()  # the mask, at the size of the input
    (torch.Size([1, 64, 64]), [-1])
    """

    @name_keywords(DEFAULTS, LocalizationClassifier)
    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        localizer: dict | None = None,
        mask: dict | None = None,
        rest: dict | None = None,
        barrier: dict | None = ON,
        erasing: dict | None = None,
        crf: dict | None = None,
        input_scale: float = 0.5,
        **kwargs,
    ) -> None:
        mask = take_options('mask', mask, kwargs)
        rest = take_options('rest', rest, kwargs)
        barrier = take_options('barrier', dict(enabled=False) if barrier is None else barrier, kwargs)
        erasing = take_options('erasing', dict(steps=0) if erasing is None else erasing, kwargs)
        crf = None if crf is None else take_options('crf', crf, kwargs)
        if barrier.enabled and mask.detach:
            raise ValueError(
                'MinMaxLocalizer: the barrier acts through the mask; with mask=dict(detach=True) set barrier=None'
            )
        if kwargs.setdefault('grid', 'half_pixel') != 'half_pixel' or kwargs.get('reading', 'protocol') != 'protocol':
            raise ValueError(
                'MinMaxLocalizer: its mask is trained through, so it is drawn and read as it is; leave out grid and '
                'reading (they are for class maps: LocalizationClassifier)'
            )
        super().__init__(backbone, neck, head or dict(WILDCAT), **kwargs)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            localizer = dict(localizer or WILDCAT, num_classes=self.head.num_classes)
            self.localizer = MODELS.build(complete_head(localizer, self.backbone, None))
        if not isinstance(self.localizer, WildcatHead):
            raise ValueError(f'MinMaxLocalizer: the localizer is a WildcatHead, not a {type(self.localizer).__name__}')
        self.mask, self.rest, self.barrier, self.erasing, self.crf = mask, rest, barrier, erasing, crf
        self.input_scale, self.epoch = input_scale, None
        # In the state dict, so that a checkpoint keeps what the schedule had reached.
        self.register_buffer('sigma', torch.tensor(float(mask.sigma)))
        self.register_buffer('barrier_t', torch.tensor(float(barrier.t)))
        self.register_buffer('erasing_sigma', torch.tensor(float(erasing.sigma)))

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch (from 0) that erasing's start is compared with."""
        self.epoch = epoch

    @property
    def steps(self) -> int:
        """Passes of recursive erasing now; 0 is one pass without erasing."""
        if self.epoch is None and self.erasing.steps and self.erasing.start_epoch:
            self.epoch = 0
            print_log('erasing waits for start_epoch: add custom_hooks=[dict(type="mmentropy.MinMaxScheduleHook")]')
        return self.erasing.steps if (self.epoch or 0) >= self.erasing.start_epoch else 0

    def localize(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """M: images to its scores (B, C) and mask (B, 1, H, W)."""
        return self.read_mask(self.backbone(images)[-1], images.shape[2:])

    def read_mask(self, features: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """M's scores and mask of ``size`` from a feature map."""
        maps = self.localizer.class_maps(features)
        scores = self.localizer.pool(maps)
        return scores, pseudo_threshold(expected_map(maps, scores), tuple(size), self.mask.omega, self.sigma)

    def erase(self, images: Tensor, labels: Tensor) -> Erased:
        """The mask for C and M's losses, over all passes."""
        synchronised = get_world_size() > 1 and any('SyncBatchNorm' in type(m).__name__ for m in self.modules())
        again = self.erasing.recompute and self.steps > 1 and torch.is_grad_enabled()
        return recursive_erasing(
            images,
            labels,
            self._localize_without_keeping if again else self.localize,
            self.steps,
            self.erasing_sigma,
            self.erasing.initial,
            self.erasing.through_images,
            stop_early=not synchronised,  # its statistics are shared: every process must make the same passes
        )

    def _localize_without_keeping(self, images: Tensor) -> tuple[Tensor, Tensor]:
        def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
            return nullcontext(), still_statistics(self)

        return checkpoint(self.localize, images, use_reentrant=False, context_fn=contexts)

    def classify(self, images: Tensor) -> tuple[Tensor, ...] | Tensor:
        """What C's head reads: the features of the scaled images, pooled by the neck if there is one."""
        features = self.backbone(self.input_scale * images)
        return self.neck(features) if self.with_neck else features

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict:
        """The terms of the loss; the mask's mean area and the passes made go to the log beside them."""
        check_finite(inputs, data_samples)
        labels = single_labels(data_samples).to(inputs.device)
        erased = self.erase(inputs, labels)
        mask = erased.mask.detach() if self.mask.detach else erased.mask
        losses = dict(loss_localizer=erased.losses.mean())
        losses['loss_cls'] = self.head.loss(self.classify(inputs * mask), data_samples)['loss']
        if self.rest.weight:
            scores = self.head(self.classify(inputs * (1 - mask))).to(mask.dtype)
            losses['loss_negative'] = self.rest.weight * self.certainty(scores).mean()
        if self.barrier.enabled:
            losses['loss_area'] = area_barrier(mask, self.barrier_t).mean()
        losses['area'] = mask.detach().mean()
        losses['passes'] = mask.new_tensor(float(erased.passes))
        return losses

    def certainty(self, scores: Tensor) -> Tensor:
        """R(C(X⁻)), (B,): cross-entropy to the uniform distribution, or minus the entropy."""
        if self.rest.loss == 'eem':
            return -softmax_entropy(scores)
        return uniform_divergence(scores) + math.log(scores.shape[1])

    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor'):
        """As in the base; ``tensor`` gives C's scores through the mask."""
        if mode == 'tensor':
            return self.head(self.classify(inputs * self.localize(inputs)[1]))
        return super().forward(inputs, data_samples, mode)

    def grey_levels(self, inputs: Tensor) -> Tensor:
        """The images before the data preprocessor normalised them."""
        if not hasattr(self.data_preprocessor, 'mean'):
            return inputs
        return inputs * self.data_preprocessor.std + self.data_preprocessor.mean

    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs) -> list[DataSample]:
        """Scores and labels from C(X R); the mask and M's location entropy."""
        check_finite(inputs, data_samples)
        features = self.backbone(inputs)[-1]
        _, masks = self.read_mask(features, inputs.shape[2:])
        samples = self.head.predict(self.classify(inputs * masks), data_samples, **kwargs)
        masks = masks.float()
        if self.crf is not None:
            masks = torch.stack([self.crf.refine(*pair) for pair in zip(masks, self.grey_levels(inputs))])
        for sample, mask, entropy in zip(samples, masks, self.localizer.entropy_map(features)):
            sample.set_field(mask, CAMS)
            sample.set_field(torch.tensor([-1], device=mask.device), CAM_LABELS)
            sample.set_field(entropy, ENTROPY_MAP)
        return samples


@contextmanager
def still_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norms leave their running statistics as they are: a pass that is computed again is not counted twice."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = [(m, m.momentum, m.num_batches_tracked) for m in norms]
    for m in norms:
        m.momentum, m.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for m, momentum, batches in kept:
            m.momentum, m.num_batches_tracked = momentum, batches


def name_of(index: int, samples: list[DataSample] | None) -> str:
    """How a message calls the image of a batch: its path, else its number in the batch."""
    path = samples[index].get('img_path') if samples else None
    return path or f'image {index} of the batch'


def check_finite(inputs: Tensor, samples: list[DataSample] | None) -> None:
    """Refuse NaN and infinite pixels: they would end in the weights, or in a mask without meaning."""
    fine = torch.isfinite(inputs).flatten(1).all(1)
    if not fine.all():
        index = int((~fine).nonzero()[0, 0])
        raise ValueError(f'{name_of(index, samples)} holds NaN or infinite values; look at its file and its pipeline')


def single_labels(samples: list[DataSample]) -> Tensor:
    """(B,) labels."""
    for index, sample in enumerate(samples):
        if 'gt_label' not in sample or sample.gt_label.numel() != 1 or 'gt_score' in sample:
            raise ValueError(
                f'{name_of(index, samples)}: MinMaxLocalizer needs exactly one gt_label and no mixed gt_score; '
                'leave out batch augmentations and multi-label data'
            )
    return torch.cat([sample.gt_label for sample in samples])
