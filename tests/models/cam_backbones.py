# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the cut-down backbones share: published weights of the original load, and only the new block starts fresh."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from mmentropy.models.backbones.cam_backbone import CAMBackbone


def check_published_weights(
    make: Callable[..., CAMBackbone],
    reference: nn.Module,
    upto: Callable[[Tensor], Tensor],
    side: int,
    folder: Path,
    monkeypatch,
) -> None:
    """That ``make(init_cfg=...)`` computes the original's layers with its weights, then the 3×3 block.

    Args:
        make: of the backbone.
        reference: the original network.
        upto: what it computes up to where it was cut.
        side: of the last map at 224 pixels.
        folder: for the weights' file.
        monkeypatch: pytest's.
    """
    reference.eval()
    weights = {k: v for k, v in reference.state_dict().items() if v.numel() < 4e6}  # not the largest linear layers
    torch.save(weights, folder / 'w.pth')
    said = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'info', said.append)
    backbone = make(init_cfg={'type': 'Pretrained', 'checkpoint': str(folder / 'w.pth')})
    backbone.init_weights()
    backbone.eval()
    assert len(said) == 1
    assert said[0].endswith('fresh: cam_conv.0')
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        body = upto(image)
        (found,) = backbone(image)
        torch.testing.assert_close(backbone.body(image), body)
        expected = torch.relu(torch.nn.functional.conv2d(body, backbone.cam_conv[0].weight, padding=1))
    torch.testing.assert_close(found, expected)
    assert found.shape == (1, 1024, side, side)
