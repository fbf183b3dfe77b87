# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Deep seeded region growing (Huang et al., CVPR 2018): a segmenter that grows its own seeds while it trains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from mmentropy.models.losses import BalancedSeedLoss, BoundaryConstraintLoss
from mmentropy.ops.refining.dense_crf import Bilateral, Gaussian, dense_crf, unary_from_probability
from mmentropy.ops.refining.region_growing import grow_regions
from mmentropy.registry import MODELS


@MODELS.register_module()
class DSRGSegmentor(EncoderDecoder):
    """An ``EncoderDecoder`` whose labels are seeds: 255 marks what no seed covers.

    Every iteration, at the decode head's resolution: the seeds grow from scratch into where the prediction is sure
    (:func:`~mmentropy.ops.refining.region_growing.grow_regions`), the balanced seed loss teaches the grown seeds, and
    the boundary loss draws the prediction towards its own dense CRF. The head's ``loss_decode`` is not used.

    Args:
        fg_threshold, bg_threshold: θ of the growing.
        gaussian: (sxy, compat) of the CRF, in locations of the decode head.
        bilateral: (sxy, srgb, compat) of the CRF.
        crf_iterations: of the mean field.
        boundary_weight: factor of the boundary loss.
        **kwargs: of ``EncoderDecoder``.

    >>> backbone = dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8)
    >>> head = dict(type='FCNHead', in_channels=64, channels=8, num_convs=1, num_classes=3, in_index=0)
    >>> model = DSRGSegmentor(backbone=backbone, decode_head=head, fg_threshold=0.9)
    >>> model.thresholds, model.kernels[0].compat
    ((0.9, 0.99), 3)
    """

    def __init__(
        self,
        fg_threshold: float = 0.85,
        bg_threshold: float = 0.99,
        gaussian: Sequence[float] = (1, 3),
        bilateral: Sequence[float] = (10, 13, 10),
        crf_iterations: int = 10,
        boundary_weight: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.thresholds = fg_threshold, bg_threshold
        self.kernels, self.crf_iterations = (Gaussian(*gaussian), Bilateral(*bilateral)), crf_iterations
        self.seed_loss, self.boundary_loss = BalancedSeedLoss(), BoundaryConstraintLoss(boundary_weight)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Seed and boundary loss on the grown seeds, and the auxiliary heads' own losses on the given ones."""
        features = self.extract_feat(inputs)
        logits = self.decode_head(features)
        targets = [self.targets(*one) for one in zip(logits.detach(), inputs, data_samples)]
        grown, marginals = (torch.from_numpy(np.stack(part)).to(logits) for part in zip(*targets))
        losses = {'loss_seed': self.seed_loss(logits, grown), 'loss_boundary': self.boundary_loss(logits, marginals)}
        losses['grown_share'] = grown.sum(dim=1).mean().detach()
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(features, data_samples))
        return losses

    def targets(self, logits: Tensor, pixels: Tensor, sample: object) -> tuple[np.ndarray, np.ndarray]:
        """One image's grown seeds (C, h, w) and CRF marginals (C, h, w).

        Classes without a seed in the crop are kept out of both, background excepted.
        """
        size = logits.shape[1:]
        seeds = F.interpolate(sample.gt_sem_seg.data[None].float(), size=size, mode='nearest')[0, 0].cpu().numpy()
        cues = seeds[None] == np.arange(len(logits))[:, None, None]
        present = cues.any(axis=(1, 2))
        present[0] = True
        probability = logits.float().softmax(dim=0).cpu().numpy()
        grown = grow_regions(cues, probability, present, *self.thresholds)
        marginals = np.zeros_like(probability)
        own = np.nonzero(present)[0]
        if len(own) > 1:
            image = self.image_of(pixels, size)
            chosen = probability[own] / probability[own].sum(axis=0)
            marginals[own] = dense_crf(unary_from_probability(chosen), image, self.kernels, self.crf_iterations)
        else:
            marginals[0] = 1
        return grown, marginals

    def image_of(self, pixels: Tensor, size: tuple[int, int]) -> np.ndarray:
        """(h, w, 3) uint8: the normalised network input as an image again, at the head's resolution."""
        prepare = self.data_preprocessor
        if getattr(prepare, '_enable_normalize', False):
            pixels = pixels * prepare.std + prepare.mean
        small = F.interpolate(pixels[None].float(), size=size, mode='area')[0]
        return small.clamp(0, 255).permute(1, 2, 0).byte().cpu().numpy()
