# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A classifier whose predictions carry the maps of an explainer, so that metrics can judge them."""

from __future__ import annotations

from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmentropy.explain import Explainer, build_explainer
from mmentropy.registry import MODELS
from mmentropy.structures import CAM_LABELS, CAMS

from .localization_classifier import LocalizationClassifier


@MODELS.register_module()
class ExplainedClassifier(LocalizationClassifier):
    """A ``LocalizationClassifier`` whose ``cams`` are an explainer's maps of the same classes.

    It trains as its base and its checkpoints are its base's. ``entropy_map`` is left as it is.

    Args:
        explainer: a method of :data:`mmentropy.explain.METHODS`.
        explainer_options: of that method (``target_layer``, ``scales`` …).
        *args: as in ``LocalizationClassifier``.
        **kwargs: as in ``LocalizationClassifier``.

    >>> backbone = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
    >>> neck, head = dict(type='GlobalAveragePooling'), dict(type='LinearClsHead', in_channels=64, num_classes=3)
    >>> model = ExplainedClassifier(backbone, neck, head, explainer='layer_cam', map_classes='all').eval()
    >>> model.predict(torch.zeros(1, 3, 64, 64), [DataSample()])[0].cams.shape
    torch.Size([3, 2, 2])
    """

    def __init__(
        self, *args: Any, explainer: str = 'grad_cam', explainer_options: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        # In a tuple: an explainer holds the model, which must not become its own sub-module.
        self._explainer: tuple[Explainer] = (build_explainer(explainer, self, **(explainer_options or {})),)

    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs) -> list[DataSample]:
        """Scores and labels of the base, maps of the explainer."""
        samples = super().predict(inputs, data_samples, **kwargs)
        wanted = [sample.get(CAM_LABELS) if CAM_LABELS in sample else self.classes_of(sample) for sample in samples]
        longest = max(len(classes) for classes in wanted)
        table = torch.stack([torch.nn.functional.pad(classes, (0, longest - len(classes))) for classes in wanted])
        maps = self._explainer[0](inputs, table).maps
        maps = maps.expand(-1, longest, -1, -1)  # a class-agnostic map stands for each class
        for sample, classes, cams in zip(samples, wanted, maps):
            sample.set_field(cams[: len(classes)].float(), CAMS)
            sample.set_field(classes, CAM_LABELS)
        return samples
