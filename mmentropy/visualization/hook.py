# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Panels of every n-th validation or test image, through mmengine's visualizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer

from mmentropy.registry import HOOKS

CHANNEL_ORDERS = ('bgr', 'rgb')


@HOOKS.register_module()
class LocalizationVisualizationHook(Hook):
    """Save a panel (boxes | class map | entropy map) of every ``interval``-th image of validation and test.

    Draws on what the network saw: the map covers exactly that. The visualizer is the runner's; it must be a
    ``mmentropy.LocalizationVisualizer``.

    Args:
        enable: off by default, as the hosts' hook.
        interval: draw images 0, interval, 2·interval, … of the data set.
        out_dir: folder for the panels (``tools/test.py --show-dir``); without it they go to the visualizer's backends.
        show: open a window for each.
        wait_time: seconds a window stays.
        channel_order: order of the pipeline's channels; OpenMMLab's readers give ``bgr``.

    Raises:
        ValueError: for an interval below 1 or an unknown channel order.

    >>> hook = HOOKS.build(dict(type='mmentropy.LocalizationVisualizationHook', enable=True, interval=10))
    >>> hook.enable, hook.interval
    (True, 10)
    """

    priority = 'NORMAL'

    def __init__(
        self,
        enable: bool = False,
        interval: int = 100,
        out_dir: str | None = None,
        show: bool = False,
        wait_time: float = 0,
        channel_order: str = 'bgr',
    ) -> None:
        if interval < 1:
            raise ValueError(f'interval counts images and is at least 1, got {interval}')
        if channel_order not in CHANNEL_ORDERS:
            raise ValueError(f'channel_order must be one of {CHANNEL_ORDERS}, got {channel_order!r}')
        self.enable, self.interval, self.out_dir = enable, interval, out_dir
        self.show, self.wait_time, self.channel_order = show, wait_time, channel_order
        self._seen = 0

    def before_val_epoch(self, runner: Runner) -> None:
        self._seen = 0

    def before_test_epoch(self, runner: Runner) -> None:
        self._seen = 0

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[BaseDataElement]
    ) -> None:
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self._draw(runner, data_batch, outputs, runner.epoch if by_epoch else runner.iter)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[BaseDataElement]
    ) -> None:
        self._draw(runner, data_batch, outputs, 0)

    def _draw(self, runner: Runner, data_batch: dict, outputs: Sequence[BaseDataElement], step: int) -> None:
        """Draw those of the batch whose running number the interval divides (the last batch may be smaller)."""
        first, self._seen = self._seen, self._seen + len(outputs)
        if not self.enable:
            return
        visualizer: Visualizer = runner.visualizer
        for number in range(-(-first // self.interval) * self.interval, self._seen, self.interval):
            sample = outputs[number - first]
            image = data_batch['inputs'][number - first].permute(1, 2, 0).cpu().numpy().astype(np.uint8)
            # The running number keeps files of the same name in different folders apart.
            name = f'{number:06d}_{Path(str(sample.get("img_path") or "image")).stem}'
            visualizer.add_datasample(
                name,
                image[..., ::-1] if self.channel_order == 'bgr' else image,
                sample,
                show=self.show,
                wait_time=self.wait_time,
                out_file=None if self.out_dir is None else str(Path(self.out_dir) / f'{name}_{step}.png'),
                step=step,
            )
