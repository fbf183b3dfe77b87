# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A classifier whose predictions carry the maps of an explainer, so that metrics can judge them."""

from __future__ import annotations

from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmentropy.explain import Explainer, build_explainer
from mmentropy.ops.mapping.reading import Reading
from mmentropy.ops.mapping.scaling import move_maps
from mmentropy.registry import MODELS
from mmentropy.structures import CAM_LABELS, CAMS, ENTROPY_MAP, MAP_GRID

from .localization_classifier import LocalizationClassifier


@MODELS.register_module()
class ExplainedClassifier(LocalizationClassifier):
    """A ``LocalizationClassifier`` whose ``cams`` are an explainer's maps of the same classes.

    It trains as its base and its checkpoints are its base's. ``entropy_map`` is the base's, moved to the locations of
    the explainer's maps where these are others; ``map_grid`` is the explainer's.

    Args:
        explainer: a method of :data:`mmentropy.explain.METHODS`.
        explainer_options: of that method (``target_layer``, ``scales`` …).
        reading, grid: of the explainer's maps, see :class:`~mmentropy.explain.Explainer`.
        *args: as in ``LocalizationClassifier``.
        **kwargs: as in ``LocalizationClassifier``.

    >>> backbone = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
    >>> neck, head = dict(type='GlobalAveragePooling'), dict(type='LinearClsHead', in_channels=64, num_classes=3)
    >>> model = ExplainedClassifier(backbone, neck, head, explainer='layer_cam', map_classes='all').eval()
    >>> model.predict(torch.zeros(1, 3, 64, 64), [DataSample()])[0].cams.shape
    torch.Size([3, 2, 2])
    """

    def __init__(
        self,
        *args: Any,
        explainer: str = 'grad_cam',
        explainer_options: dict | None = None,
        reading: Reading | dict | str = 'protocol',
        grid: str = 'followed',
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, grid=grid, **kwargs)
        score = 'sigmoid' if getattr(self.head, 'multi_label', False) else 'softmax'
        options = dict(reading=reading, grid=grid, score=score) | (explainer_options or {})
        # In a tuple: an explainer holds the model, which must not become its own sub-module.
        self._explainer: tuple[Explainer] = (build_explainer(explainer, self, **options),)

    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs) -> list[DataSample]:
        """Scores and labels of the base, maps of the explainer."""
        samples = super().predict(inputs, data_samples, **kwargs)
        wanted = [sample.get(CAM_LABELS) if CAM_LABELS in sample else self.classes_of(sample) for sample in samples]
        longest = max(len(classes) for classes in wanted)
        table = torch.stack([torch.nn.functional.pad(classes, (0, longest - len(classes))) for classes in wanted])
        found = self._explainer[0](inputs, table)
        maps = found.maps.expand(-1, longest, -1, -1)  # a class-agnostic map stands for each class
        for sample, classes, cams in zip(samples, wanted, maps):
            sample.set_field(cams[: len(classes)].float(), CAMS)
            sample.set_field(classes, CAM_LABELS)
            if ENTROPY_MAP in sample:
                place = (sample.get(MAP_GRID), maps.shape[2:], found.grid, inputs.shape[2:])
                sample.set_field(move_maps(sample.get(ENTROPY_MAP), *place), ENTROPY_MAP)
            sample.pop(MAP_GRID, None)
            if found.grid is not None:
                sample.set_field(found.grid, MAP_GRID)
        return samples
