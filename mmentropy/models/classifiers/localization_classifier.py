# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""mmpretrain's image classifier, with the maps it carries inside made visible."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.registry import DefaultScope
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmentropy.explain.grids import LastMapGrid
from mmentropy.explain.patch_affinity import patch_affinity
from mmentropy.models.backbones.map_backbone import last_channels, map_backbone
from mmentropy.models.heads.cam_head import CAMHead
from mmentropy.models.necks.score_pooling import ScorePooling
from mmentropy.models.necks.tied_pooling import TiedPooling
from mmentropy.models.necks.token_pooling import TokenPooling
from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.reading import Reading, read_maps
from mmentropy.registry import MODELS
from mmentropy.structures import CAM_LABELS, CAMS, ENTROPY_MAP, MAP_GRID


@MODELS.register_module()
class LocalizationClassifier(ImageClassifier):
    """An ``ImageClassifier`` that ties its pooling neck to its head and hangs maps on its predictions.

    A backbone that would pool is set to give its last map, or refused, for a ``CAMHead`` or one of our pooling necks;
    see :func:`~mmentropy.models.backbones.map_backbone.map_backbone`. With a ``CAMHead``, ``predict`` adds to every
    DataSample ``cams`` (K, h, w) class maps at feature resolution, raw or as the reading has them, ``cam_labels`` (K,),
    ``entropy_map`` (h, w) in nats, and ``map_grid``, which says where their locations look. With any other neck and
    head it behaves as its base, and its state dict is interchangeable with an ImageClassifier's of the same backbone
    and linear head.

    Args:
        backbone, neck, head, pretrained, train_cfg, data_preprocessor, init_cfg: as in the base. Bare types are
            mmpretrain's under any default scope. The head's ``in_channels`` and ``num_classes`` may be left out: they
            come from the backbone and from the ``data_preprocessor``.
        map_classes: whose maps are kept: ``gt+top5`` (the labels and the five best), ``all``, or a list of classes.
        erasing: feature erasers (``mmentropy.ADL`` …), hooked into named layers of the backbone, active in training
            only. What they learn lies in the state dict under ``erasing``.
        reading: how ``cams`` are read: ``protocol`` (raw), ``certain``, ``certain+spread``, or a
            :class:`~mmentropy.ops.mapping.reading.Reading` or a dict of its arguments. Training knows nothing of it.
        freeze_backbone: keep the backbone as it is: in evaluation mode and without gradients, also while the rest is
            trained; nothing of it is kept for a backward pass.
        grid: where maps are drawn, see :class:`~mmentropy.explain.grids.LastMapGrid`: ``followed`` (in their place),
            ``measured`` or ``half_pixel`` (without a ``map_grid``, as the field does). Nothing of it is in the state
            dict.

    >>> backbone = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
    >>> neck, head = dict(type='mmentropy.EntropyPooling'), dict(type='mmentropy.CAMHead', num_classes=3)
    >>> model = LocalizationClassifier(backbone, neck, head, map_classes='all').eval()
    >>> sample = model.predict(torch.zeros(1, 3, 64, 64), [DataSample()])[0]
    >>> sample.cams.shape, sample.cam_labels.tolist(), sample.entropy_map.shape
    (torch.Size([3, 2, 2]), [0, 1, 2], torch.Size([2, 2]))
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        map_classes: str | Sequence[int] = 'gt+top5',
        pretrained: str | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        erasing: Sequence[dict] = (),
        reading: Reading | dict | str = 'protocol',
        grid: str = 'followed',
        freeze_backbone: bool = False,
    ) -> None:
        if isinstance(map_classes, str) and map_classes not in ('gt+top5', 'all'):
            raise ValueError(f"map_classes must be 'gt+top5', 'all' or a list of classes, got {map_classes!r}")
        reading, grid = Reading.of(reading), LastMapGrid(grid)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            if reads_map(neck) or reads_map(head):
                backbone = map_backbone(backbone)
            elif not isinstance(backbone, nn.Module):
                backbone = MODELS.build(backbone)
            if isinstance(head, dict):
                head = complete_head(head, backbone, data_preprocessor)
            super().__init__(backbone, neck, head, pretrained, train_cfg, data_preprocessor, init_cfg)
        self.map_classes, self.reading, self.grid = map_classes, reading, grid
        if isinstance(self.neck, TiedPooling) and self.neck.scorer is None and hasattr(self.head, 'fc'):
            self.neck.tie(self.head.fc)
        if isinstance(self.neck, ScorePooling) and self.neck.of == 'scores' and not isinstance(self.head, CAMHead):
            raise ValueError(f'{type(self.neck).__name__} pools class scores: use head=dict(type="mmentropy.CAMHead")')
        erasers = [eraser if isinstance(eraser, nn.Module) else MODELS.build(eraser) for eraser in erasing or ()]
        self.erasing = nn.ModuleList(erasers) if erasers else ()
        for eraser in erasers:
            eraser.attach(self.backbone, self.head)
        self.freeze_backbone = freeze_backbone
        if freeze_backbone:
            if erasers:
                raise ValueError(
                    'erasing works inside the backbone; it teaches nothing to one with freeze_backbone=True'
                )
            self.backbone.requires_grad_(False).eval()

    @property
    def location_classifier(self) -> nn.Linear | None:
        """The linear layer that scores the locations of the last map: the head's, where it says so or a neck reads it.

        Explainers take it as the classifier, whatever the pooling.
        """
        if isinstance(self.neck, TiedPooling):
            return self.neck.classifier
        return getattr(self.head, 'location_classifier', None)

    @property
    def location_layer(self) -> str | None:
        """The layer whose locations the classifier scores, where it is not their pooled map that it reads."""
        return 'backbone' if isinstance(self.neck, TokenPooling) else None

    def method_options(self, method: str) -> dict:
        """Options that a map method (of :data:`mmentropy.explain.METHODS`) needs to read as this model pools, and to
        give class maps as ``predict`` does."""
        if method == 'cam':
            score = 'sigmoid' if getattr(self.head, 'multi_label', False) else 'softmax'
            return {'reading': self.reading, 'grid': self.grid.kind, 'score': score}
        options = getattr(self.neck, 'entropy_options', None)
        return dict(options) if method == 'entropy_cam' and options else {}

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict:
        """Losses of the head (one with ``auxiliary_gap`` also sees the feature map) and of the erasers."""
        features = self.extract_feat(inputs, stage='backbone')
        feats = self.neck(features) if self.with_neck else features
        extra = {'feature_map': features[-1]} if getattr(self.head, 'auxiliary_gap', 0) else {}
        losses = self.head.loss(feats, data_samples, **extra)
        for eraser in self.erasing if self.training else ():
            losses.update(eraser.losses(features[-1], self.head, data_samples))
        return losses

    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs) -> list[DataSample]:
        """Scores and labels as in the base, and the maps."""
        features = self.extract_feat(inputs, stage='backbone')
        feats = self.neck(features) if self.with_neck else features
        samples = self.head.predict(feats, data_samples, **kwargs)
        if hasattr(self.head, 'maps'):
            affinity = None
            if self.reading.needs_attention:
                affinity = patch_affinity(self.backbone, inputs, tuple(features[-1].shape[2:]))
            self.add_maps(features[-1], samples, self.grid(self.backbone, inputs), affinity)
        return samples

    def train(self, mode: bool = True) -> LocalizationClassifier:
        if mode:
            self.grid.forget_weights()
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self.grid.forget_weights()
        super()._load_from_state_dict(*args, **kwargs)

    def add_maps(
        self,
        features: Tensor,
        samples: list[DataSample],
        grid: MapGrid | None = HALF_PIXEL,
        affinity: Tensor | None = None,
    ) -> None:
        """Hang ``cams``, ``cam_labels``, ``entropy_map`` and ``map_grid`` on the samples of a batch."""
        wanted = [self.classes_of(sample) for sample in samples]
        longest = max(len(classes) for classes in wanted)
        # Padded with class 0, so that the ragged lists of a batch are one matrix product.
        padded = torch.stack([torch.nn.functional.pad(classes, (0, longest - len(classes))) for classes in wanted])
        maps = self.head.maps(features, padded).float()
        for eraser in self.erasing:
            maps = eraser.fuse(maps, features, padded)
        entropies = self.head.entropy_map(features)
        maps = read_maps(maps, entropies, features, self.reading, affinity)
        for sample, classes, cams, entropy in zip(samples, wanted, maps, entropies):
            sample.set_field(cams[: len(classes)], CAMS)
            sample.set_field(classes, CAM_LABELS)
            sample.set_field(entropy, ENTROPY_MAP)
            if grid is not None:
                sample.set_field(grid, MAP_GRID)

    def classes_of(self, sample: DataSample) -> Tensor:
        """The classes whose maps this sample keeps: its labels first, each class once."""
        device = sample.pred_score.device
        if not isinstance(self.map_classes, str):
            return torch.as_tensor(self.map_classes, device=device)
        if self.map_classes == 'all':
            return torch.arange(len(sample.pred_score), device=device)
        best = sample.pred_score.topk(min(5, len(sample.pred_score))).indices.tolist()
        labels = sample.gt_label.tolist() if 'gt_label' in sample else []
        if not labels and 'gt_score' in sample:
            labels = torch.where(sample.gt_score > 0)[0].tolist()
        return torch.tensor(list(dict.fromkeys(labels + best)), device=device)


def reads_map(part: dict | nn.Module | None) -> bool:
    """Whether a neck or head, or the one of this config, reads the locations of the backbone's last map."""
    if isinstance(part, dict):
        kind = MODELS.get(part['type']) if isinstance(part['type'], str) else part['type']
    else:
        kind = type(part)
    return isinstance(kind, type) and issubclass(kind, (CAMHead, TiedPooling))


def complete_head(head: dict, backbone: nn.Module, data_preprocessor: dict | nn.Module | None) -> dict:
    """The head's config with ``in_channels`` and ``num_classes`` filled in where the rest of the model knows them."""
    head = dict(head)
    if 'in_channels' not in head:
        head['in_channels'] = last_channels(backbone)
    if 'num_classes' not in head and isinstance(data_preprocessor, dict) and data_preprocessor.get('num_classes'):
        head['num_classes'] = data_preprocessor['num_classes']
    if 'num_classes' not in head and not head.get('embeddings'):  # a file of embeddings has its own classes
        raise ValueError('the head needs num_classes: give it there or in the data_preprocessor of the config')
    return head
