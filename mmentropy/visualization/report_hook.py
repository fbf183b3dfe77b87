# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Keep, while a model is tested, what a report needs: figures of every image, and pictures and maps of some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.dist import collect_results
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from mmentropy import structures as fields
from mmentropy.evaluation.samples import check_drawing
from mmentropy.ops.localizing.boxes import scale_boxes
from mmentropy.ops.localizing.protocol import best_iou_by_threshold, quantize_map
from mmentropy.ops.mapping.scaling import normalize_map, upsample_map
from mmentropy.registry import HOOKS

from .report_data import ReportData, Sample
from .visualizer import to_array

#: Thresholds of the curves; a report shows them, the metrics have their own finer grid.
THRESHOLDS = np.linspace(0, 0.99, 100)


@HOOKS.register_module()
class ReportHook(Hook):
    """Write ``report.npz`` into the run's folder after a test, for ``tools/report.py``.

    Args:
        out_file: where to; None takes ``report.npz`` in the work dir.
        max_images: pictures and maps of at most so many images, evenly spread; figures of all.
        thumb: pixels of a picture's longer side.
        eval_size: pixels at which maps and boxes are compared, as in the metrics.
        channel_order: of the pipeline's images.
        grid: as in the metrics: ``sample`` or ``half_pixel``.

    >>> HOOKS.build(dict(type='mmentropy.ReportHook', max_images=100)).max_images
    100
    """

    priority = 'LOW'

    def __init__(
        self,
        out_file: str | None = None,
        max_images: int = 500,
        thumb: int = 160,
        eval_size: int = 224,
        channel_order: str = 'bgr',
        grid: str = 'sample',
    ) -> None:
        if max_images < 1:
            raise ValueError(f'max_images is at least 1, got {max_images}')
        self.out_file, self.max_images, self.thumb = out_file, max_images, thumb
        self.eval_size, self.channel_order, self.grid = eval_size, channel_order, check_drawing(grid)
        self.samples: list[Sample] = []

    def before_test_epoch(self, runner: Runner) -> None:
        self.samples = []
        self.every = -(-len(runner.test_dataloader.dataset) // self.max_images)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[BaseDataElement]
    ) -> None:
        for image, output in zip(data_batch['inputs'], outputs):
            shown = len(self.samples) % self.every == 0
            self.samples.append(self.sample(image.permute(1, 2, 0).cpu().numpy() if shown else None, output))

    def sample(self, image: np.ndarray | None, output: BaseDataElement) -> Sample:
        """What is kept of one image; its picture and maps only with ``image`` (H, W, 3)."""
        truth = np.ravel(to_array(output.get(fields.GT_LABEL, []))).astype(int)
        scores = np.ravel(to_array(output.get(fields.PRED_SCORE, [])))
        predicted = int(scores.argmax()) if scores.size else -1
        label = int(truth[0]) if truth.size else -1
        cams, labels = to_array(output.get(fields.CAMS)), np.ravel(to_array(output.get(fields.CAM_LABELS, [])))
        row = int(np.flatnonzero(labels == label)[0]) if (labels == label).any() else 0
        cam = None if cams is None else cams[row]
        boxes = to_array(output.get(fields.GT_BBOXES))
        size = output.get('ori_shape', (self.eval_size,) * 2)[:2]
        square = (self.eval_size, self.eval_size)
        truths = None if boxes is None else scale_boxes(boxes.reshape(-1, 4), size, square)
        if boxes is not None:
            boxes = boxes.reshape(-1, 4) / np.array([size[1], size[0]] * 2, np.float32)
        path = str(output.get('img_path') or output.get('sample_id', ''))
        kept = Sample(
            name='/'.join(Path(path).parts[-2:]) or str(len(self.samples)),
            label=label,
            prediction=predicted,
            score=float(scores[predicted]) if scores.size else float('nan'),
            entropy=float(np.ravel(to_array(output.get(fields.ENTROPY, np.nan)))[0]),
            boxes=np.zeros((0, 4), np.float32) if boxes is None else boxes.astype(np.float32),
            cam=None if cam is None else np.round(255 * normalize_map(cam)).astype(np.uint8),
        )
        grid = None if self.grid == 'half_pixel' else fields.grid_in_image(output)
        kept.grid = None if grid is None else grid.to_array()
        if cam is not None and len(kept.boxes):
            drawn = upsample_map(cam, square, grid=grid)
            kept.best_iou = best_iou_by_threshold(quantize_map(drawn), truths, THRESHOLDS)
        entropy_map = to_array(output.get(fields.ENTROPY_MAP))
        if image is not None:
            kept.thumb = self._thumb(image)
            kept.entropy_map = None if entropy_map is None else entropy_map.astype(np.float16)
        return kept

    def _thumb(self, image: np.ndarray) -> bytes:
        scale = min(1.0, self.thumb / max(image.shape[:2]))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(np.ascontiguousarray(image).astype(np.uint8), size, interpolation=cv2.INTER_AREA)
        bgr = image if self.channel_order == 'bgr' else image[..., ::-1]
        return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        samples = collect_results(self.samples, len(runner.test_dataloader.dataset), 'cpu')
        if samples is None:  # not the first process
            return
        meta = getattr(runner.test_dataloader.dataset, 'metainfo', {})
        data = ReportData(
            samples,
            tuple(str(name) for name in meta.get('classes') or ()),
            {key: float(value) for key, value in (metrics or {}).items() if np.ndim(value) == 0},
            runner.cfg.pretty_text,
            {'experiment': runner.experiment_name, 'checkpoint': str(runner.cfg.get('load_from') or '')},
        )
        data.save(self.out_file or Path(runner.work_dir) / 'report.npz')
