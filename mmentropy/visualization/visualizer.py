# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""mmengine's visualizer with a panel for localisation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mmengine.dist import master_only
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer

from mmentropy import structures as fields
from mmentropy.registry import VISUALIZERS
from mmentropy.safe_files import write_whole

from .panels import draw_localization_panel, draw_triptych, scale_boxes


def write_image(path: str | Path, image: np.ndarray) -> None:
    """An RGB image as a file in the format of its suffix; written beside and renamed, so never half there."""
    path = Path(path)
    encoded, data = cv2.imencode(path.suffix or '.png', np.ascontiguousarray(image[..., ::-1]))
    if not encoded:
        raise ValueError(f'{path}: OpenCV cannot write an image of shape {image.shape} as {path.suffix!r}')
    write_whole(path, data.tobytes())


def _class_name(label: int, classes: tuple[str, ...] | None) -> str:
    return str(classes[label]) if classes is not None and 0 <= label < len(classes) else f'class {label}'


@VISUALIZERS.register_module()
class LocalizationVisualizer(Visualizer):
    """Draws one panel a DataSample: image with true and predicted box | class map | entropy map.

    The class map shown is the true class's where it was asked for, else the first that is there. The predicted box is
    read from that map, min-max normalised as the WSOL metrics do: above 20 %, largest component. Any of mmengine's
    backends (local, TensorBoard, …) gets the panel.

    Args:
        tile: pixels of a tile's longer side.
        alpha: weight of the class map's colours.
        threshold: of the predicted box, on the normalised map.
        normalize: ``minmax``, or ``max`` for a share of the map's maximum as in the CAM paper, see
            :func:`mmentropy.ops.mapping.scaling.normalize_map`.
        layout: ``panel``, or ``triptych`` for the entropy-regularisation paper's figure (image with boxes, bare map,
            overlap; the prediction green, the truth red), see :func:`mmentropy.visualization.panels.draw_triptych`.
        name: of the instance, for mmengine's ``get_instance``.
        **kwargs: mmengine's ``Visualizer``: ``vis_backends``, ``save_dir``.

    >>> from mmengine.structures import BaseDataElement
    >>> sample = BaseDataElement(cams=np.eye(4)[None], cam_labels=np.array([3]), gt_bboxes=np.array([[0, 0, 8, 8]]))
    >>> panel = LocalizationVisualizer(tile=32).draw(np.zeros((16, 16, 3), np.uint8), sample)
    >>> panel.dtype, panel.shape[2]
    (dtype('uint8'), 3)
    """

    def __init__(
        self,
        name: str = 'visualizer',
        tile: int = 224,
        alpha: float = 0.5,
        threshold: float = 0.2,
        normalize: str = 'minmax',
        layout: str = 'panel',
        **kwargs,
    ) -> None:
        super().__init__(name, **kwargs)
        if layout not in ('panel', 'triptych'):
            raise ValueError(f"LocalizationVisualizer: layout is 'panel' or 'triptych', got {layout!r}")
        self.layout = layout
        self.tile, self.alpha, self.threshold, self.normalize = tile, alpha, threshold, normalize

    def draw(self, image: np.ndarray, data_sample: BaseDataElement) -> np.ndarray:
        """The panel of one sample.

        Args:
            image: (H, W, 3) uint8, RGB: what the network saw, or the original.
            data_sample: see :mod:`mmentropy.structures`; fields that are missing are not drawn. ``gt_bboxes`` are in
                pixels of ``ori_shape`` (the image itself without one). Maps are drawn where its ``map_grid`` tells.

        Returns:
            (height, width, 3) uint8, RGB.
        """
        classes = (self.dataset_meta or {}).get('classes')
        truth = [int(i) for i in np.ravel(to_array(data_sample.get(fields.GT_LABEL, [])))]
        cams, labels = to_array(data_sample.get(fields.CAMS)), to_array(data_sample.get(fields.CAM_LABELS, []))
        row = next((i for i, label in enumerate(np.ravel(labels)) if int(label) in truth), 0)
        boxes = to_array(data_sample.get(fields.GT_BBOXES))
        if boxes is not None:
            boxes = scale_boxes(boxes, data_sample.get('ori_shape', image.shape[:2])[:2], image.shape[:2])
        titles = (
            self._prediction(data_sample, truth, classes),
            f'map: {_class_name(int(np.ravel(labels)[row]), classes)}' if np.size(labels) else 'map',
        )
        how = dict(tile=self.tile, alpha=self.alpha, threshold=self.threshold, normalize=self.normalize)
        how['grid'] = fields.grid_in_picture(data_sample, image.shape[:2])
        if self.layout == 'triptych' and cams is not None:
            return draw_triptych(image, cams[row], gt_bboxes=boxes, titles=(*titles, 'overlap'), **how)
        entropy_map = to_array(data_sample.get(fields.ENTROPY_MAP))
        class_map = None if cams is None else cams[row]
        return draw_localization_panel(image, class_map, entropy_map, boxes, titles=(*titles, 'entropy'), **how)

    @staticmethod
    def _prediction(data_sample: BaseDataElement, truth: list[int], classes: tuple[str, ...] | None) -> str:
        """Title of the image's tile: the truth, and the prediction where it differs, with its score."""
        label = ', '.join(_class_name(i, classes) for i in truth) or 'image'
        predicted = data_sample.get(fields.PRED_LABEL)
        if predicted is None or not np.size(to_array(predicted)):  # a multi-label prediction may hold no class
            return label
        best = int(np.ravel(to_array(predicted))[0])
        score = data_sample.get(fields.PRED_SCORE)
        text = '' if score is None else f' {float(np.ravel(to_array(score))[best]):.2f}'
        return f'{label} ✓{text}' if best in truth else f'{label} ✗ {_class_name(best, classes)}{text}'

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: BaseDataElement | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
    ) -> np.ndarray:
        """Draw a sample and give the panel to ``out_file``, or to the backends without one.

        Args:
            name: of the panel in the backends.
            image, data_sample: see :meth:`draw`.
            draw_gt: draw the true boxes.
            draw_pred: draw maps and predicted box.
            show: open a window.
            wait_time: seconds that the window stays; 0 waits for a key.
            out_file: image file to write in place of the backends.
            step: global step in the backends.

        Returns:
            The panel, (height, width, 3) uint8, RGB.
        """
        sample = BaseDataElement() if data_sample is None else data_sample.clone()
        hidden = ((fields.GT_BBOXES,) if not draw_gt else ()) + (
            (fields.CAMS, fields.ENTROPY_MAP, fields.PRED_LABEL) if not draw_pred else ()
        )
        for key in hidden:
            sample.pop(key, None)
        panel = self.draw(image, sample)
        self.set_image(panel)
        if show:
            self.show(panel, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_image(out_file, panel)
        else:
            self.add_image(name, panel, step)
        return panel


def to_array(value: object) -> np.ndarray | None:
    """Tensor or array or list as an array; None stays None."""
    if value is None:
        return None
    return value.detach().cpu().float().numpy() if hasattr(value, 'detach') else np.asarray(value)
