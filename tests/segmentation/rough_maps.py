# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps that a poor classifier might give: the true masks, blurred and noisy."""

from __future__ import annotations

import cv2
import numpy as np

from mmentropy.segmentation import VOCFolder


def rough_maps(voc: VOCFolder, key: str, seed: int = 0) -> dict[int, np.ndarray]:
    """The true regions, blurred and noisy, in PSA's form."""
    rng = np.random.default_rng([seed, int(key[-6:])])
    truth = voc.mask(key)
    maps = {}
    for label in voc.labels(key).tolist():
        blurred = cv2.GaussianBlur((truth == label + 1).astype(np.float32), (0, 0), 5)
        maps[label] = blurred / max(blurred.max(), 1e-6) + rng.uniform(0, 0.25, truth.shape).astype(np.float32)
    return maps
