# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The processes of ``test_counting``: every metric on its share of the samples, as mmengine's sampler deals them."""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path

import torch.distributed as dist
from mmengine.dataset import DefaultSampler
from samples import make_samples, make_scenes

from mmentropy.evaluation import PixelLocalizationMetric
from mmentropy.registry import METRICS

METRICS_UNDER_TEST = (
    dict(type='BoxLocalizationMetric', eval_size=56, cam_interval=0.01, threshold=0.3),
    dict(type='EntropyMetric'),
    dict(type='GridPointingMetric'),
    dict(type='PixelLocalizationMetric', eval_size=56, cam_interval=0.01, threshold=0.333),
    dict(type='PartCoverageMetric'),
    dict(type='DiceMetric', normalize=True),
)


def evaluate(rank: int, world: int, folder: str) -> None:
    """Write this process's figures: 11 samples pad two and three processes, 1 sample leaves processes without any."""
    if world > 1:
        dist.init_process_group('gloo', init_method=f'file://{folder}/store_{world}', world_size=world, rank=rank)
    results = {}
    for number in (11, 1):
        samples, scenes = make_samples(number), make_scenes(number)
        metrics = [METRICS.build(config) for config in METRICS_UNDER_TEST]
        by_class = PixelLocalizationMetric(eval_size=56, cam_interval=0.01, prefix='scenes')
        for index in DefaultSampler(samples, shuffle=False):
            by_class.process(None, [scenes[index]])
            for metric in metrics:
                metric.process(None, [samples[index]])
        metrics.append(by_class)
        results[number] = {key: value for metric in metrics for key, value in metric.evaluate(number).items()}
    Path(folder, f'{world}_{rank}.json').write_text(json.dumps(results))


def main(folder: str) -> None:
    """Runs of one, two and three processes; forked, so that torch is imported once."""
    context = multiprocessing.get_context('fork')
    for world in (1, 2, 3):
        processes = [context.Process(target=evaluate, args=(rank, world, folder)) for rank in range(world)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            sys.exit(f'a run of {world} processes failed')


if __name__ == '__main__':
    main(sys.argv[1])
