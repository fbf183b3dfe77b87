# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The WSOL protocol the slow way, written from docs/evaluation.md alone: what the tests and benchmarks compare with."""

from __future__ import annotations

import cv2
import numpy as np

KINDS = ('smooth', 'rough', 'noisy', 'few levels', 'two-valued', 'constant')


def make_map(kind: str, height: int, width: int, seed: int) -> np.ndarray:
    """A float32 map in [0, 1] of one of the KINDS, the same for the same seed."""
    rng = np.random.default_rng(seed)
    if kind == 'constant':
        return np.zeros((height, width), np.float32)
    if kind == 'two-valued':
        cam = (rng.random((height, width)) < rng.uniform(0.1, 0.9)).astype(np.float32)
    elif kind == 'few levels':
        cam = rng.integers(0, 5, (height, width)).astype(np.float32)
    elif kind == 'noisy':
        cam = rng.random((height, width)).astype(np.float32)
    else:
        side = 7 if kind == 'smooth' else 28
        cam = cv2.resize(rng.random((side, side)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    span = cam.max() - cam.min()
    return (cam - cam.min()) / span if span > 0 else np.zeros_like(cam)


def traced_boxes(img: np.ndarray, level: int) -> list[tuple[int, int, int, int]]:
    """Sorted ``boundingRect`` corners (inclusive) of all contours of ``img > level``."""
    contours = cv2.findContours((img > level).astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[-2]
    rects = [cv2.boundingRect(contour) for contour in contours]
    return sorted((x, y, x + w - 1, y + h - 1) for x, y, w, h in rects)


def protocol_boxes(img: np.ndarray, threshold: float, contours: str) -> list[tuple[int, int, int, int]]:
    """The protocol's boxes at one threshold."""
    binary = cv2.threshold(img, int(threshold * int(img.max())), 255, cv2.THRESH_BINARY)[1]
    found = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[-2]
    if not found:
        return [(0, 0, 0, 0)]
    if contours == 'largest':
        found = [max(found, key=cv2.contourArea)]
    height, width = img.shape
    boxes = []
    for contour in found:
        x, y, w, h = cv2.boundingRect(contour)
        boxes.append((x, y, min(x + w, width - 1), min(y + h, height - 1)))
    return boxes


def iou(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """IoU with + 1 widths, by the definition."""
    w = min(a[2], b[2]) - max(a[0], b[0]) + 1
    h = min(a[3], b[3]) - max(a[1], b[1]) + 1
    shared = max(w, 0) * max(h, 0)
    areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return shared / (sum(areas) - shared)


def iou_by_threshold(
    cam: np.ndarray, truths: list[tuple[int, ...]], thresholds: np.ndarray, contours: str = 'all'
) -> list[float]:
    """Best IoU at each threshold of a map in [0, 1]; nothing is remembered from one threshold to the next."""
    img = (255 * cam).astype(np.uint8)
    return [max(iou(box, gt) for box in protocol_boxes(img, t, contours) for gt in truths) for t in thresholds]
