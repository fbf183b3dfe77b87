# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The last step: the trained segmenter on a split, its mIoU, palette PNGs, and the zip that VOC's server takes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement

from mmentropy.datasets.label_png import label_png, read_label_png
from mmentropy.datasets.sources import ImageSource, VOCFolder
from mmentropy.ops.refining.dense_crf import Bilateral, Gaussian, dense_crf, unary_from_probability
from mmentropy.registry import STAGES
from mmentropy.safe_files import write_whole

from .stage import Context, ScoreStage
from .training import load_host_model

#: Where VOC's server wants the PNGs inside the archive.
SERVER_FOLDER = 'results/VOC2012/Segmentation/comp6_{split}_cls'


@torch.inference_mode()
def segment_probability(
    model: Any, image: np.ndarray, scales: Sequence[float] = (1.0,), flip: bool = False
) -> np.ndarray:
    """Mean softmax of an mmseg model over scales and mirror images.

    Args:
        model: an ``EncoderDecoder``, in whole-image mode.
        image: (H, W, 3) uint8 RGB.
        scales: factors of the image's size.
        flip: also the mirror image.

    Returns:
        (C, H, W) float32, on the CPU.
    """
    height, width = image.shape[:2]
    total: torch.Tensor | float = 0.0
    for scale in scales:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        resized = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        batch = torch.from_numpy(np.ascontiguousarray(resized[..., ::-1])).permute(2, 0, 1)
        inputs = [batch, batch.flip(-1)] if flip else [batch]
        samples = [BaseDataElement() for _ in inputs]
        data = model.data_preprocessor({'inputs': inputs, 'data_samples': samples})
        # The preprocessor pads to a multiple of the stride, right and below.
        meta = [{'img_shape': tuple(data['inputs'].shape[2:])}] * len(data['inputs'])
        logits = model.encode_decode(data['inputs'], meta)[..., : size[1], : size[0]]
        if flip:
            logits[1] = logits[1].flip(-1)
        resized = F.interpolate(logits.float(), size=(height, width), mode='bilinear', align_corners=False)
        total = total + resized.softmax(dim=1).mean(dim=0)
    return (total / len(scales)).cpu().numpy()


@STAGES.register_module()
class Test(ScoreStage):
    """Predicts a split; PNGs as of ``PseudoMasks``, mIoU where there are true masks, and the zip of VOC's server.

    Args:
        name, source: ``source`` trained the segmenter.
        split: ``val``, or ``test``, which has no masks.
        scales, flip: of the prediction.
        crf: sharpen with the dense CRF (the kernels of DeepLab).

    >>> stage = STAGES.build(dict(type='Test', source='segment', split='test', scales=(0.5, 1.0), flip=True))
    >>> stage.name, stage.needs, stage.split
    ('test', ['segment'], 'test')
    """

    SUFFIX = '.png'
    SECONDS, BYTES = 0.5, 5_000
    # No test class of pytest's.
    __test__ = False

    def __init__(
        self,
        name: str = 'test',
        source: str | None = None,
        split: str = 'val',
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        crf: bool = False,
    ) -> None:
        super().__init__(name, source)
        self.split, self.scales, self.flip, self.crf = split, tuple(scales), flip, crf
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_model': None}

    def data(self, ctx: Context) -> ImageSource:
        return ctx.data.on(self.split)

    def ids(self, ctx: Context) -> list[str]:
        return self.data(ctx).ids()

    def made_from(self, ctx: Context, key: str) -> list[Path]:
        return [self.data(ctx).image_path(key)]

    def plan(self, ctx: Context) -> tuple[int, float, int]:
        count = len(self.ids(ctx))
        return count, count * self.SECONDS * len(self.scales) * (1 + self.flip), count * self.BYTES

    def process(self, ctx: Context, key: str) -> None:
        if self._model is None:
            self._model = load_host_model(ctx.folder(self.source), ctx.device)
        image = self.data(ctx).image(key)
        probability = segment_probability(self._model, image, self.scales, self.flip)
        if self.crf:
            kernels = Gaussian(3, 3), Bilateral(67, 3, 4)
            probability = dense_crf(unary_from_probability(probability), image, kernels)
        write_whole(self.output(ctx, key), label_png(probability.argmax(axis=0), ctx.data.num_classes + 1).getvalue())

    def predicted(self, ctx: Context, key: str) -> np.ndarray:
        return read_label_png(self.output(ctx, key), ctx.data.num_classes + 1)

    def finish(self, ctx: Context, asked: int, failures: dict[str, str]) -> dict[str, Any]:
        result = super().finish(ctx, asked, failures)
        if not isinstance(ctx.data, VOCFolder):
            return result
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_STORED) as archive:
            for path in self.outputs(ctx):
                # A fixed date: the same predictions give the same archive.
                name = f'{SERVER_FOLDER.format(split=self.split)}/{path.name}'
                archive.writestr(zipfile.ZipInfo(name), path.read_bytes())
        write_whole(ctx.folder(self.name) / f'{self.split}_server.zip', buffer.getvalue())
        return result
