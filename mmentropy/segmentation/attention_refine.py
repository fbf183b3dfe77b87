# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Scores spread over what a transformer's attention joins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from mmentropy.engine import load_config
from mmentropy.explain.patch_affinity import patch_affinity
from mmentropy.ops.mapping.reading import Reading, read_maps
from mmentropy.ops.mapping.scaling import resize_map
from mmentropy.ops.seeding.seeds import to_probabilities
from mmentropy.registry import STAGES

from .files import ImageMaps
from .refine import Refiner
from .stage import Context
from .training import checkpoints_of


@STAGES.register_module()
class AttentionRefine(Refiner):
    r"""Scores, the background's included, walk along a transformer's attention, :math:`s \leftarrow A^n s`.

    *A* is the mean of the last blocks' attention over heads, doubly stochastic by Sinkhorn's normalisation: see
    :func:`~mmentropy.explain.patch_affinity.patch_affinity`. The result has the size of the transformer's map.

    Args:
        name, source: see :class:`Stage`.
        config: of the transformer: a config of a classifier whose backbone it is.
        checkpoint: its weights; None takes those that the config names (``init_cfg``).
        steps: n.
        blocks, sinkhorn: see :func:`~mmentropy.explain.patch_affinity.patch_affinity`.
        side: images are resized to this square.
        share: of the walked scores in the new ones.

    Source:
        The affinity from attention as in Lin et al., "CLIP is also an efficient segmenter" (CVPR 2023).

    >>> STAGES.build(dict(type='AttentionRefine', source='seed', config='configs/frozen/dinov2-small_voc12.py')).side
    448
    """

    SECONDS = 0.5

    def __init__(
        self,
        name: str = 'attention',
        source: str | None = None,
        config: str = 'configs/frozen/dinov2-small_voc12.py',
        checkpoint: str | None = None,
        steps: int = 2,
        blocks: int = 8,
        sinkhorn: int = 3,
        side: int = 448,
        share: float = 1.0,
    ) -> None:
        super().__init__(name, source)
        if not 0 <= share <= 1 or steps < 1 or side < 1:
            raise ValueError(
                f'{name}: share lies in [0, 1], steps and side are at least 1, got {share}, {steps} and {side}'
            )
        self.config, self.checkpoint, self.share, self.side = config, checkpoint, share, side
        self.blocks, self.sinkhorn, self.reading = blocks, sinkhorn, Reading(spread=steps)
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_model': None}

    def fingerprint(self, ctx: Context) -> Any:
        return load_config(self.config).pretty_text if Path(self.config).is_file() else None

    def depends(self, ctx: Context) -> dict[str, str]:
        files = [self.checkpoint] if self.checkpoint else []
        if not files and Path(self.config).is_file():
            files = list(checkpoints_of(load_config(self.config).model))
        return super().depends(ctx) | {str(one): ctx.digests.of(Path(one)) for one in files if Path(one).is_file()}

    def model(self, ctx: Context) -> Any:
        """The transformer's classifier, loaded once in each process."""
        if self._model is None:
            from mmentropy.engine.model_loading import load_model

            loaded = load_model(self.config, self.checkpoint, ctx.device, random_weights=self.checkpoint is None)
            if self.checkpoint is None:
                loaded.model.init_weights()  # those that the config names
            self._model = loaded.model.eval()
        return self._model

    def refine(self, ctx: Context, key: str, scores: ImageMaps, image: np.ndarray) -> np.ndarray:
        model = self.model(ctx)
        small = cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(small[..., ::-1].copy()).permute(2, 0, 1)[None]  # as the host's readers give it
        inputs = model.data_preprocessor({'inputs': pixels})['inputs']
        with torch.no_grad():
            features = model.extract_feat(inputs, stage='backbone')[-1]
        size = (int(features.shape[2]), int(features.shape[3]))
        affinity = patch_affinity(model.backbone, inputs, size, self.blocks, self.sinkhorn)
        before = to_probabilities(resize_map(scores.probabilities(), size, 'bilinear'))
        start = torch.from_numpy(before)[None].to(affinity)
        walked = read_maps(start, reading=self.reading, affinity=affinity)[0].cpu().numpy()
        return self.share * walked + (1 - self.share) * before
