# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Min-max entropy localisation: a mask that keeps what the classifier needs and leaves it nothing in the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmentropy.ops.barrier import area_barrier
from mmentropy.ops.dense_crf import Bilateral, Gaussian, dense_crf, unary_from_probability
from mmentropy.ops.entropy import softmax_entropy
from mmentropy.ops.erasing import Erased, expected_map, pseudo_threshold, recursive_erasing
from mmentropy.ops.regularizers import uniform_divergence
from mmentropy.registry import MODELS
from mmentropy.structures import CAM_LABELS, CAMS, ENTROPY_MAP

from ..heads.wildcat_head import WildcatHead
from .localization_classifier import LocalizationClassifier, complete_head

#: What the classifier's prediction outside the mask is pushed to, and the weight that its version of the paper gives.
NEGATIVES = {'sem': 1e-7, 'eem': 1e-7, 'ce_uniform': 1.0}

WILDCAT = dict(type='mmentropy.WildcatHead', maps_per_class=5, kmax=0.09)


@dataclass
class Erasing:
    """Options of recursive erasing; see :func:`~mmentropy.ops.erasing.recursive_erasing`.

    Attributes:
        steps: u, passes of the localizer; 0 is off.
        sigma: decay of the trust over the passes.
        start_epoch: first epoch (from 0) with erasing; ``MinMaxScheduleHook`` tells the model the epoch.
        initial: ``zero`` or ``mask``.
        through_images: gradients through the erased images too.
    """

    steps: int = 4
    sigma: float = 10.0
    start_epoch: int = 1
    initial: str = 'zero'
    through_images: bool = False

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


def options_of(kind: type, given: dict, name: str) -> dict:
    """The given options, none of them unknown to ``kind``."""
    unknown = set(given) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f'MinMaxLocalizer: {name} has no option {sorted(unknown)[0]!r}')
    return dict(given)


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

    Args:
        backbone, neck, head, pretrained, train_cfg, data_preprocessor, init_cfg: as in ``LocalizationClassifier``; neck
            and head are C's. The default head is WILDCAT's without a neck; to pool by entropy instead, set
            ``neck=dict(type='mmentropy.EntropyPooling')`` and ``head=dict(type='mmentropy.CAMHead')``.
        localizer: M's head, a ``WildcatHead``.
        omega, sigma: steepness and threshold of the mask, see :func:`~mmentropy.ops.erasing.pseudo_threshold`.
        detach_mask: the mask is a constant for C's losses (the first release); M then learns from its labels alone.
        input_scale: factor of C's input.
        negative: what C is pushed to outside the mask: ``sem`` and ``ce_uniform`` cross-entropy to the uniform
            distribution, ``eem`` minus the entropy itself.
        negative_weight: λ; None takes 1e-7 for ``sem`` and ``eem`` (journal), 1 for ``ce_uniform`` (first version).
            0 leaves the pass out.
        area_constraint: the log barrier on the areas of both sides.
        barrier_t: t of the barrier; a ``MinMaxScheduleHook`` changes it.
        erasing: options of :class:`Erasing`, None is off.
        recompute: compute a pass again in the backward; False keeps all activations (same result, more memory).
        crf: options of :class:`Crf`, which then sharpens the predicted masks (not what C sees); None is off.

    Raises:
        ValueError: for options that do not fit; in training, for a sample without exactly one label; in training and
            prediction for an image with NaN or infinite values, by its path.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        localizer: dict | None = None,
        omega: float = 8.0,
        sigma: float = 0.5,
        detach_mask: bool = False,
        input_scale: float = 0.5,
        negative: str = 'sem',
        negative_weight: float | None = None,
        area_constraint: bool = True,
        barrier_t: float = 5.0,
        erasing: dict | None = None,
        recompute: bool = True,
        crf: dict | None = None,
        data_preprocessor: dict | None = None,
        **kwargs,
    ) -> None:
        if negative not in NEGATIVES:
            raise ValueError(f'MinMaxLocalizer: negative must be one of {sorted(NEGATIVES)}, got {negative!r}')
        if area_constraint and detach_mask:
            raise ValueError('MinMaxLocalizer: area_constraint acts through the mask; with detach_mask set it to False')
        if omega <= 0 or barrier_t <= 0:
            raise ValueError(f'MinMaxLocalizer: omega and barrier_t must be > 0, got {omega} and {barrier_t}')
        erasing = Erasing(**options_of(Erasing, dict(steps=0) if erasing is None else erasing, 'erasing'))
        crf = None if crf is None else Crf(**options_of(Crf, crf, 'crf'))
        super().__init__(backbone, neck, head or dict(WILDCAT), data_preprocessor=data_preprocessor, **kwargs)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            localizer = dict(localizer or WILDCAT, num_classes=self.head.num_classes)
            self.localizer = MODELS.build(complete_head(localizer, self.backbone, None))
        if not isinstance(self.localizer, WildcatHead):
            raise ValueError(f'MinMaxLocalizer: the localizer is a WildcatHead, not a {type(self.localizer).__name__}')
        self.omega, self.detach_mask, self.input_scale = omega, detach_mask, input_scale
        self.negative = negative
        self.negative_weight = NEGATIVES[negative] if negative_weight is None else negative_weight
        self.area_constraint, self.recompute = area_constraint, recompute
        self.erasing, self.crf, self.epoch = erasing, crf, None
        # In the state dict, so that a checkpoint keeps what the schedule had reached.
        self.register_buffer('sigma', torch.tensor(float(sigma)))
        self.register_buffer('barrier_t', torch.tensor(float(barrier_t)))
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
        return scores, pseudo_threshold(expected_map(maps, scores), tuple(size), self.omega, self.sigma)

    def erase(self, images: Tensor, labels: Tensor) -> Erased:
        """The mask for C and M's losses, over all passes."""
        synchronised = get_world_size() > 1 and any('SyncBatchNorm' in type(m).__name__ for m in self.modules())
        again = self.recompute and self.steps > 1 and torch.is_grad_enabled()
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
        mask = erased.mask.detach() if self.detach_mask else erased.mask
        losses = dict(loss_localizer=erased.losses.mean())
        losses['loss_cls'] = self.head.loss(self.classify(inputs * mask), data_samples)['loss']
        if self.negative_weight:
            scores = self.head(self.classify(inputs * (1 - mask))).to(mask.dtype)
            losses['loss_negative'] = self.negative_weight * self.certainty(scores).mean()
        if self.area_constraint:
            losses['loss_area'] = area_barrier(mask, self.barrier_t).mean()
        losses['area'] = mask.detach().mean()
        losses['passes'] = mask.new_tensor(float(erased.passes))
        return losses

    def certainty(self, scores: Tensor) -> Tensor:
        """R(C(X⁻)), (B,): cross-entropy to the uniform distribution, or minus the entropy."""
        if self.negative == 'eem':
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
