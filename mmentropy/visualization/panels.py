# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Panels of images, maps and boxes: plain functions from arrays to one RGB array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmentropy.ops.localizing.boxes import box_iou
from mmentropy.ops.localizing.map_boxes import boxes_from_map
from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.overlay import blend_map, colorize_map
from mmentropy.ops.mapping.scaling import upsample_map

GT_COLOR = (60, 220, 90)
PRED_COLOR = (235, 60, 60)
BACKGROUND = (255, 255, 255)
INK = (25, 25, 25)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib ships: class names are not always ASCII, and OpenCV's fonts are."""
    from matplotlib import get_data_path

    return ImageFont.truetype(str(Path(get_data_path()) / 'fonts/ttf/DejaVuSans.ttf'), size)


def _fit(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The text, cut with an ellipsis where it is wider than ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + '…') > width:
        text = text[:-1]
    return text + '…'


def add_caption(tile: np.ndarray, text: str, height: int = 20) -> np.ndarray:
    """A strip of ``height`` pixels with the text above the tile; long text is cut, never wrapped.

    Args:
        tile: (H, W, 3) uint8, RGB.
        text: one line.
        height: of the strip, in pixels.

    Returns:
        (H + height, W, 3) uint8, RGB.
    """
    strip = Image.new('RGB', (tile.shape[1], height), BACKGROUND)
    font = _font(max(8, round(height * 0.6)))
    text = _fit(' '.join(text.split()), tile.shape[1] - 4, font)
    ImageDraw.Draw(strip).text((2, height // 2), text, fill=INK, font=font, anchor='lm')
    return np.concatenate([np.asarray(strip), tile])


def draw_boxes(
    image: np.ndarray, boxes: np.ndarray, color: tuple[int, int, int] = PRED_COLOR, thickness: int = 2
) -> np.ndarray:
    """Box outlines on a copy of the image.

    Args:
        image: (H, W, 3) uint8, RGB.
        boxes: (n, 4) x0 y0 x1 y1, pixel edges of this image.
        color: RGB.
        thickness: of the outline, in pixels.
    """
    out = np.ascontiguousarray(image).copy()
    for x0, y0, x1, y1 in np.asarray(boxes, dtype=np.float64).reshape(-1, 4).round().astype(int).tolist():
        cv2.rectangle(out, (x0, y0), (max(x0, x1 - 1), max(y0, y1 - 1)), color, thickness)
    return out


def scale_boxes(boxes: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Boxes x0 y0 x1 y1 of an image of size ``old`` (height, width) in the pixels of its copy of size ``new``."""
    factor = np.array([new[1] / old[1], new[0] / old[0]] * 2, dtype=np.float32)
    return np.asarray(boxes, dtype=np.float32).reshape(-1, 4) * factor


def fit_image(image: np.ndarray, size: int) -> np.ndarray:
    """The image with its longer side brought to ``size`` pixels; enlarged pixels stay smooth."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    scale = size / max(image.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=interpolation)


def widen(image: np.ndarray, width: int) -> np.ndarray:
    """The image in the middle of a white tile that is at least ``width`` pixels wide: room for a caption."""
    room = max(0, width - image.shape[1])
    return np.pad(image, ((0, 0), (room // 2, room - room // 2), (0, 0)), constant_values=255)


def join_tiles(tiles: Sequence[np.ndarray], axis: int = 1, gap: int = 4) -> np.ndarray:
    """Tiles side by side (``axis=1``) or one below the other (``axis=0``), padded with white to one size."""
    other = 1 - axis
    longest = max(tile.shape[other] for tile in tiles)
    parts = []
    for i, tile in enumerate(tiles):
        pad = [(0, 0), (0, 0), (0, 0)]
        pad[other] = (0, longest - tile.shape[other])
        pad[axis] = (gap if i else 0, 0)
        parts.append(np.pad(tile, pad, constant_values=255))
    return np.concatenate(parts, axis=axis)


def draw_localization_panel(
    image: np.ndarray,
    class_map: np.ndarray | None = None,
    entropy_map: np.ndarray | None = None,
    gt_bboxes: np.ndarray | None = None,
    pred_bboxes: np.ndarray | None = None,
    titles: Sequence[str] = ('image', 'class map', 'entropy'),
    tile: int = 224,
    alpha: float = 0.5,
    threshold: float = 0.2,
    normalize: str = 'minmax',
    grid: MapGrid | None = HALF_PIXEL,
) -> np.ndarray:
    """Image with true (green) and predicted (red) box | class map over the image | entropy map.

    Args:
        image: (H, W, 3) or (H, W) uint8, RGB.
        class_map: (h, w) raw class map over the whole image, any resolution; left out when None.
        entropy_map: (h, w) location entropy in nats; its tile's title gets the range. Left out when None.
        gt_bboxes: (n, 4) x0 y0 x1 y1, pixels of ``image``.
        pred_bboxes: the same; None takes the largest component of the normalised class map above ``threshold``.
        titles: of the three tiles; before the class map's ✓ or ✗ and the IoU of its box, where there is truth.
        tile: pixels of a tile's longer side.
        alpha: weight of the class map's colours.
        threshold: for the box that is read from the class map.
        normalize: of colours and box: ``minmax`` as the WSOL metrics read the map, or ``max`` for shares of the map's
            maximum, see :func:`mmentropy.ops.mapping.scaling.normalize_map`.
        grid: where the locations of both maps look, for an image of these proportions; None is half-pixel.

    Returns:
        (height, width, 3) uint8, RGB: as many tiles side by side as there are maps, and the image's.
    """
    size = image.shape[:2]
    canvas = fit_image(image, tile)
    full = canvas.shape[:2]
    overlay = None
    if class_map is not None:
        cam = upsample_map(class_map, full, normalize=normalize, grid=grid)
        overlay = blend_map(canvas, cam, alpha)
        if pred_bboxes is None:
            pred_bboxes = scale_boxes(boxes_from_map(cam, threshold), full, size)
    true, predicted = (scale_boxes(np.zeros((0, 4)) if b is None else b, size, full) for b in (gt_bboxes, pred_bboxes))
    tiles = [add_caption(widen(draw_boxes(draw_boxes(canvas, true, GT_COLOR), predicted), tile), titles[0])]
    if overlay is not None:
        judged = f'{mark(predicted, true)} {titles[1]}' if len(true) else titles[1]
        tiles.append(add_caption(widen(draw_boxes(overlay, predicted), tile), judged))
    if entropy_map is not None:
        low, high = float(np.min(entropy_map)), float(np.max(entropy_map))
        colours = colorize_map(upsample_map(entropy_map, full, grid=grid), 'viridis')
        tiles.append(add_caption(widen(colours, tile), f'{titles[2]} {low:.2f}–{high:.2f} nats'))
    return join_tiles(tiles)


def draw_triptych(
    image: np.ndarray,
    class_map: np.ndarray,
    gt_bboxes: np.ndarray | None = None,
    pred_bboxes: np.ndarray | None = None,
    titles: Sequence[str] = ('image', 'attention map', 'overlap'),
    tile: int = 224,
    alpha: float = 0.5,
    threshold: float = 0.15,
    normalize: str = 'minmax',
    grid: MapGrid | None = HALF_PIXEL,
    colors: tuple[tuple[int, int, int], tuple[int, int, int]] = (PRED_COLOR, GT_COLOR),
) -> np.ndarray:
    """Image with boxes | the bare map | both: the figure of the entropy-regularisation paper, in its colours.

    There the predicted box is green and the true one red, the other way round than in the rest of this module.

    Args:
        image, class_map, gt_bboxes, titles, tile, alpha, normalize, grid: see :func:`draw_localization_panel`.
        pred_bboxes: None takes the largest component of the normalised class map above ``threshold``.
        threshold: that paper's 0.15.
        colors: RGB of the true and of the predicted box.

    Returns:
        (height, width, 3) uint8, RGB.

    >>> draw_triptych(np.zeros((8, 8, 3), np.uint8), np.eye(4), tile=32).shape
    (52, 104, 3)
    """
    size = image.shape[:2]
    canvas = fit_image(image, tile)
    full = canvas.shape[:2]
    cam = upsample_map(class_map, full, normalize=normalize, grid=grid)
    read = boxes_from_map(cam, threshold) if pred_bboxes is None else scale_boxes(pred_bboxes, size, full)
    true = scale_boxes(np.zeros((0, 4)) if gt_bboxes is None else gt_bboxes, size, full)

    def boxed(picture: np.ndarray) -> np.ndarray:
        return draw_boxes(draw_boxes(picture, true, colors[0]), read, colors[1])

    pictures = (boxed(canvas), colorize_map(cam), boxed(blend_map(canvas, cam, alpha)))
    return join_tiles([add_caption(widen(picture, tile), title) for picture, title in zip(pictures, titles)])


def draw_layers(image: np.ndarray, layers: Mapping[str, np.ndarray], tile: int = 160, columns: int = 6) -> np.ndarray:
    """An image and what each layer of a network shows of it, from the first to the last.

    Args:
        image: (H, W, 3) uint8, RGB.
        layers: name -> (h, w) map over the whole image, each coloured by its own range.
        tile: pixels of a tile's longer side.
        columns: tiles a row.

    Returns:
        (height, width, 3) uint8, RGB.

    >>> draw_layers(np.zeros((8, 8, 3), np.uint8), {'layer1': np.eye(4), 'layer2': np.eye(2)}, tile=32).shape
    (52, 104, 3)
    """
    canvas = fit_image(image, tile)
    tiles = [add_caption(widen(canvas, tile), 'image')]
    for name, values in layers.items():
        colours = colorize_map(upsample_map(values, canvas.shape[:2]), 'viridis')
        tiles.append(add_caption(widen(colours, tile), f'{name} {values.shape[0]}×{values.shape[1]}'))
    return join_tiles([join_tiles(tiles[i : i + columns]) for i in range(0, len(tiles), columns)], axis=0)


@dataclass
class ComparisonRow:
    """One image of :func:`draw_comparison_grid`.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        maps: column title -> (h, w) raw map over the whole image; a row may lack a column.
        gt_bboxes: (n, 4) x0 y0 x1 y1, pixels of ``image``.
        title: caption of the image's tile (the class name).
        captions: column title -> caption of that tile, for example the prediction of that model.
        grids: column title -> where that map's locations look, for an image of these proportions; without, half-pixel.
    """

    image: np.ndarray
    maps: dict[str, np.ndarray]
    gt_bboxes: np.ndarray | None = None
    title: str = ''
    captions: dict[str, str] = field(default_factory=dict)
    grids: dict[str, MapGrid | None] = field(default_factory=dict)


def draw_comparison_grid(
    rows: Sequence[ComparisonRow],
    tile: int = 160,
    alpha: float = 0.5,
    threshold: float | str | Mapping[str, float | str] = 0.2,
    boxes: bool = True,
    normalize: str = 'minmax',
    marks: bool = False,
) -> np.ndarray:
    """One row an image, one column a model: each map over its image, with the box that is read from it.

    Args:
        rows: the images with their maps. The columns are the union of the maps' names, in order of appearance.
        tile: pixels of a tile's longer side.
        alpha: weight of the maps' colours.
        threshold: for the box of a map, on the normalised map, or a rule; one for all columns, or one for each.
        boxes: draw the true (green) and the found (red) box.
        normalize: see :func:`draw_localization_panel`.
        marks: put ✓ or ✗ and the IoU of the box with the truth before each caption, and a legend below.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        ValueError: without rows.
    """
    if not rows:
        raise ValueError('draw_comparison_grid got no rows; pass at least one ComparisonRow')
    columns = list(dict.fromkeys(name for row in rows for name in row.maps))
    head = join_tiles([add_caption(np.zeros((0, tile, 3), np.uint8), name, 24) for name in ['image', *columns]])
    lines = [head]
    for row in rows:
        canvas = fit_image(row.image, tile)
        full = canvas.shape[:2]
        true = np.zeros((0, 4)) if row.gt_bboxes is None or not boxes else row.gt_bboxes
        true = scale_boxes(true, row.image.shape[:2], full)
        tiles = [add_caption(widen(draw_boxes(canvas, true, GT_COLOR), tile), row.title)]
        for name in columns:
            picture, caption = np.full((*full, 3), 240, np.uint8), row.captions.get(name, '')
            if name in row.maps:
                cam = upsample_map(row.maps[name], full, normalize=normalize, grid=row.grids.get(name))
                picture = draw_boxes(blend_map(canvas, cam, alpha), true, GT_COLOR)
                cut = threshold[name] if isinstance(threshold, Mapping) else threshold
                read = boxes_from_map(cam, cut) if boxes else np.zeros((0, 4))
                picture = draw_boxes(picture, read)
                caption = f'{mark(read, true)} {caption}' if marks and len(true) else caption
            tiles.append(add_caption(widen(picture, tile), caption))
        lines.append(join_tiles(tiles))
    if marks:
        lines.append(draw_legend(lines[0].shape[1]))
    return join_tiles(lines, axis=0)


def mark(read: np.ndarray, true: np.ndarray) -> str:
    """``✓ 0.62``: whether the best IoU of a box with a true one is at least 0.5, and the IoU.

    Args:
        read, true: (n, 4) and (m, 4) x0 y0 x1 y1, pixel edges of one image.

    >>> mark(np.array([[0, 0, 10, 10]]), np.array([[0, 0, 10, 8]])), mark(np.zeros((0, 4)), np.array([[0, 0, 10, 8]]))
    ('✓ 0.80', '✗ 0.00')
    """
    # The protocol counts inclusive pixels: an edge at 10 is the pixel 9.
    iou = float(box_iou(read - (0, 0, 1, 1), true - (0, 0, 1, 1)).max()) if len(read) else 0.0
    return f'{"✓" if iou >= 0.5 else "✗"} {iou:.2f}'


def draw_legend(width: int, height: int = 22) -> np.ndarray:
    """What the colours and marks of :func:`draw_comparison_grid` mean, in one line (height, width, 3)."""
    strip = Image.new('RGB', (width, height), BACKGROUND)
    draw, font, x = ImageDraw.Draw(strip), _font(12), 4
    for color, text in ((GT_COLOR, 'true box'), (PRED_COLOR, 'box read from the map')):
        draw.rectangle((x, height // 2 - 5, x + 14, height // 2 + 5), outline=color, width=2)
        draw.text((x + 20, height // 2), text, fill=INK, font=font, anchor='lm')
        x += 36 + round(font.getlength(text))
    draw.text((x, height // 2), _fit('✓ IoU at least 0.50, ✗ less', width - x, font), fill=INK, font=font, anchor='lm')
    return np.asarray(strip)


def draw_units(units: Sequence[tuple[int, float, Sequence]], tile: int = 120) -> np.ndarray:
    """One row a unit: its strongest regions, each image with the region outlined and the rest darkened.

    Args:
        units: (unit, weight, regions with ``image``, ``box`` and ``value``), as ``class_units`` gives them.
        tile: pixels of a tile's longer side.

    Returns:
        (height, width, 3) uint8, RGB.
    """
    lines = []
    for unit, weight, regions in units:
        tiles = []
        for region in regions:
            canvas = fit_image(region.image, tile)
            box = scale_boxes(region.box, region.image.shape[:2], canvas.shape[:2])
            x0, y0, x1, y1 = box[0].round().astype(int)
            dark = canvas // 3
            dark[y0:y1, x0:x1] = canvas[y0:y1, x0:x1]
            picture = widen(draw_boxes(dark, box, thickness=1), tile)
            tiles.append(add_caption(picture, f'{region.value:.2f}', 16))
        lines.append(add_caption(join_tiles(tiles), f'unit {unit}, weight {weight:.3f}', 22))
    return join_tiles(lines, axis=0)
