# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Images of a report, one of them with an evil name."""

from __future__ import annotations

import cv2
import numpy as np

from mmentropy.visualization.report import THRESHOLDS
from mmentropy.visualization.report_data import Sample

EVIL = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>&amp;"\''


def sample(number: int, **changes) -> Sample:
    """A map whose box is columns 2 to 6 and rows 2 to 6 of 8; the true box is the same for even numbers."""
    cam = np.zeros((8, 8), np.uint8)
    cam[2:6, 2:6] = 255
    box = [0.25, 0.25, 0.75, 0.75] if number % 2 == 0 else [0.0, 0.0, 0.2, 0.2]
    image = np.full((60, 80, 3), 40 + 20 * (number % 10), np.uint8)
    content = {
        'name': f'folder/{number}.jpg',
        'label': number % 3,
        'prediction': number % 3 if number % 4 < 2 else (number + 1) % 3,
        'score': 0.1 + 0.08 * (number % 10),
        'entropy': 0.1 * (number % 7),
        'boxes': np.array([box], np.float32),
        'cam': cam,
        'best_iou': np.where(abs(THRESHOLDS - 0.5) < 0.1, 0.9 if number % 2 == 0 else 0.4, 0.1),
        'thumb': cv2.imencode('.jpg', image)[1].tobytes(),
        'entropy_map': np.linspace(0, 1, 64).reshape(8, 8).astype(np.float16),
    }
    return Sample(**{**content, **changes})
