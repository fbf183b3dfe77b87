# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The visualization hook, through mmengine's registry and backends."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import pytest
import torch
from data_samples import sample
from mmengine.registry import HOOKS, DefaultScope


def run_hook(visualizer, out_dir, phase: str = 'test', **kwargs) -> SimpleNamespace:
    """Seven images in batches of three: 0 1 2 | 3 4 5 | 6."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        hook = HOOKS.build(
            {'type': 'mmentropy.LocalizationVisualizationHook', 'interval': 2, 'out_dir': out_dir, **kwargs}
        )
    runner = SimpleNamespace(visualizer=visualizer, train_loop=None, epoch=4, iter=120)
    getattr(hook, f'before_{phase}_epoch')(runner)
    samples = [sample(i) for i in range(7)]
    image = torch.zeros(3, 48, 32, dtype=torch.uint8)
    image[0] = 200  # the first channel is blue
    for batch, first in enumerate(range(0, 7, 3)):
        part = samples[first : first + 3]
        getattr(hook, f'after_{phase}_iter')(runner, batch, {'inputs': [image] * len(part)}, part)
    return runner


def test_hook_draws_every_nth_image_also_with_a_small_last_batch(make, tmp_path):
    visualizer = make()
    run_hook(visualizer, str(tmp_path / 'panels'), enable=True)
    names = sorted(p.name for p in (tmp_path / 'panels').iterdir())
    assert names == [f'{i:06d}_bird {i}_0.png' for i in (0, 2, 4, 6)]
    blue = cv2.imread(str(tmp_path / 'panels' / names[0]))[40, 10]
    assert blue.tolist() == [200, 0, 0]


def test_hook_uses_the_backends_without_a_folder_and_steps_by_iteration(make, tmp_path):
    run_hook(make(vis_backends=[{'type': 'LocalVisBackend'}]), None, 'val', enable=True)
    names = sorted(p.name for p in (tmp_path / 'vis_data/vis_image').iterdir())
    assert names == [f'{i:06d}_bird {i}_120.png' for i in (0, 2, 4, 6)]


def test_hook_is_off_by_default_and_refuses_nonsense(make, tmp_path):
    run_hook(make(), str(tmp_path / 'panels'))
    assert not (tmp_path / 'panels').exists()
    with pytest.raises(ValueError, match='at least 1'):
        run_hook(make(), None, interval=0)
    with pytest.raises(ValueError, match='channel_order'):
        run_hook(make(), None, channel_order='cmyk')
