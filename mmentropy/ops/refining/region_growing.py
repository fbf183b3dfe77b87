# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Deep seeded region growing (Huang et al., CVPR 2018), by connected components instead of a pixel queue."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

EIGHT = np.ones((3, 3), np.int8)


def grow_regions(
    cues: np.ndarray,
    probability: np.ndarray,
    present: np.ndarray,
    fg_threshold: float = 0.85,
    bg_threshold: float = 0.99,
) -> np.ndarray:
    r"""Grow each class' cues into the neighbouring locations that the network is sure of.

    A location u without a cue may join class c if :math:`c = \arg\max_{c' \in present} p_{u,c'}` and
    :math:`p_{u,c} > \theta_c`. It joins when an 8-connected path of such locations and cues leads to a cue of c:
    the fixed point of the paper's visiting of neighbours, which is found as the connected components that hold a cue.

    Args:
        cues: (C, H, W) bool, 0 is background.
        probability: (C, H, W) softmax of the segmentation network.
        present: (C,) bool, the image's classes; background is always among them.
        fg_threshold: θ of the object classes.
        bg_threshold: θ of the background.

    Returns:
        (C, H, W) bool: the cues and what joined them. Cues of absent classes are dropped.

    Raises:
        ValueError: if the shapes differ.

    >>> cues = np.array([[[0, 0, 0]], [[1, 0, 0]]])
    >>> probability = np.array([[[0.1, 0.1, 0.9]], [[0.9, 0.9, 0.1]]])
    >>> grow_regions(cues, probability, present=np.array([True, True]))[1].tolist()
    [[True, True, False]]
    """
    cues, probability = np.asarray(cues, bool), np.asarray(probability)
    present = np.asarray(present, bool).copy()
    if cues.shape != probability.shape or present.shape != cues.shape[:1]:
        raise ValueError(f'cues {cues.shape}, probability {probability.shape} and present {present.shape} do not fit')
    present[0] = True
    grown = cues & present[:, None, None]
    free = ~grown.any(axis=0)
    best = np.where(present[:, None, None], probability, -1).argmax(axis=0)
    for c in np.nonzero(present)[0]:
        threshold = fg_threshold if c else bg_threshold
        candidate = grown[c] | (free & (best == c) & (probability[c] > threshold))
        component, _ = ndimage.label(candidate, EIGHT)
        seeded = np.zeros(component.max() + 1, bool)
        seeded[component[grown[c]]] = True
        grown[c] |= seeded[component] & candidate
    return grown
