# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Score-CAM by brute force."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from small_nets import make

from mmentropy.explain import build_explainer


def test_score_cam_by_brute_force(images):
    model = make()
    found = build_explainer('score_cam', model, batch_size=3)(images, [[1, 3], [0, 0]])
    features = model.act(model.body(images)).detach()
    with torch.no_grad():
        for n, k in np.ndindex(2, 2):
            scores = []
            for d in range(8):
                mask = F.interpolate(features[n : n + 1, d : d + 1], (20, 28), mode='bilinear')
                mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
                scores.append(model(images[n : n + 1] * mask)[0, found.classes[n, k]])
            expected = (torch.stack(scores).softmax(0)[:, None, None] * features[n]).sum(0).relu()
            torch.testing.assert_close(found.maps[n, k], expected, rtol=1e-4, atol=1e-6)
