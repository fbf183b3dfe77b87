# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Predictions as the metrics get them, the same for the same index."""

from __future__ import annotations

import cv2
import numpy as np
import torch

CLASSES = 8


def make_sample(index: int, seed: int = 0) -> dict:
    """One image with boxes, masks, class maps, scores and an entropy map; every value depends on (seed, index)."""
    rng = np.random.default_rng([seed, index])
    height, width = (int(n) for n in rng.integers(40, 90, 2))
    label = int(rng.integers(CLASSES))
    corners = rng.integers(0, [width, height], (int(rng.integers(1, 4)), 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1) + 1], axis=1)
    mask = np.zeros((height, width), np.uint8)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = 1
    # maps that know something of the object, so that figures are neither 0 nor 100
    blurred = cv2.resize(cv2.blur(mask.astype(np.float32), (9, 9)), (7, 7), interpolation=cv2.INTER_AREA)
    labels = np.unique([label, *rng.integers(0, CLASSES, 3)])
    cams = blurred + rng.normal(scale=0.3, size=(len(labels), 7, 7))
    scores = torch.softmax(torch.from_numpy(rng.normal(size=CLASSES) + 2 * (np.arange(CLASSES) == label)), 0)
    part = mask * (rng.random(mask.shape) < 0.2)
    return {
        'sample_id': index,
        'img_path': f'image_{index}.jpg',
        'ori_shape': (height, width),
        'gt_label': torch.tensor([label]),
        'gt_bboxes': boxes.astype(np.float32),
        'gt_mask': mask,
        'ignore_mask': (rng.random(mask.shape) < 0.05).astype(np.uint8),
        'part_mask': part.astype(np.uint8),
        'tile_bbox': np.float32([0, 0, width // 2, height // 2]),
        'cams': torch.from_numpy(cams.astype(np.float32)),
        'cam_labels': torch.from_numpy(labels),
        'entropy_map': torch.from_numpy(rng.uniform(0, 2, (7, 7)).astype(np.float32)),
        'pred_score': scores.float(),
        'pred_label': scores.argmax(0, keepdim=True),
    }


def make_samples(number: int, seed: int = 0) -> list[dict]:
    """The first ``number`` samples."""
    return [make_sample(index, seed) for index in range(number)]


def make_scenes(number: int, seed: int = 0) -> list[dict]:
    """Images of one to three classes, with a segmentation map and a border that is left out."""
    scenes = []
    for index in range(number):
        rng = np.random.default_rng([seed, index, 1])
        sample = make_sample(index, seed)
        height, width = sample['ori_shape']
        labels = np.sort(rng.choice(CLASSES, int(rng.integers(1, 4)), replace=False))
        seg_map = np.zeros((height, width), np.uint8)
        for label in labels:
            y, x = rng.integers(0, [height - 12, width - 12])
            seg_map[y : y + rng.integers(8, 30), x : x + rng.integers(8, 30)] = label + 1
        seg_map[rng.random(seg_map.shape) < 0.05] = 255
        cams = [cv2.resize(np.float32(seg_map == label + 1), (7, 7), interpolation=cv2.INTER_AREA) for label in labels]
        cams = np.stack(cams) + rng.normal(scale=0.2, size=(len(labels), 7, 7))
        sample |= {'cams': torch.from_numpy(cams.astype(np.float32)), 'cam_labels': torch.from_numpy(labels)}
        sample |= {'gt_label': torch.from_numpy(labels), 'gt_seg_map': seg_map, 'ignore_mask': np.uint8(seg_map == 255)}
        scenes.append(sample | {'gt_mask': np.uint8((seg_map > 0) & (seg_map < 255))})
    return scenes


def evaluate(metric, samples: list[dict]) -> dict:
    """Feed a metric in one process, two samples a batch."""
    for start in range(0, len(samples), 2):
        metric.process(None, samples[start : start + 2])
    return metric.evaluate(len(samples))
