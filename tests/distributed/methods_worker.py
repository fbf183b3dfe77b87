# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The processes of ``test_methods``: every method under DDP, with autocast, with accumulated gradients."""

from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import sys
import traceback
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from method_models import METHODS, build, freeze_statistics, step, weights
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from mmentropy.engine import CpuAmpOptimWrapper
from mmentropy.engine.compiling import compile_what_goes

#: Whose loss is a mean over samples, so that two halves of a batch give the whole batch's gradient.
SEPARABLE = ('efw', 'ent', 'acol', 'minmax')
COMPILED = ('ent', 'minmax')


def sgd(model: torch.nn.Module, wrapper: type[OptimWrapper] = OptimWrapper, **options) -> OptimWrapper:
    return wrapper(
        torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.01, momentum=0.9), **options
    )


def fresh(method: str) -> tuple[torch.nn.Module, list[dict]]:
    model, batches = build(method)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    return model.train(), batches


def under_ddp(rank: int, method: str) -> dict:
    """Three steps on batches of this rank's own; trained parameters that no gradient reached; do the ranks agree."""
    model, batches = fresh(method)
    reached, start = set(), weights(model)
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.register_hook(lambda gradient, name=name: reached.add(name))
    wrapped = MMDistributedDataParallel(model, device_ids=None)
    optimizer = sgd(model)
    losses = [step(wrapped, batches[(rank + i) % 2], optimizer)['loss'].item() for i in range(3)]
    own = weights(model)
    moved = not torch.equal(own, start)
    both = [torch.empty_like(own) for _ in range(2)]
    dist.all_gather(both, own)
    return dict(
        losses=losses,
        equal=torch.equal(*both),
        moved=moved,
        still=[name for name, p in model.named_parameters() if p.requires_grad and name not in reached],
    )


def with_autocast(method: str) -> dict:
    """The first loss in bfloat16 and in float32, and what the weights are afterwards."""
    losses = []
    for wrapper in (OptimWrapper, CpuAmpOptimWrapper):
        model, batches = fresh(method)
        small = {key: value[:4] for key, value in batches[0].items()}
        losses.append(step(model, small, sgd(model, wrapper))['loss'].item())
    dtypes = sorted({str(p.dtype) for p in model.parameters()})
    return dict(losses=losses, dtypes=dtypes, finite=bool(torch.isfinite(weights(model)).all()))


def accumulated(method: str) -> dict:
    """The largest difference between two accumulated halves and one whole batch, and the step's own size."""
    ends, start = [], None
    for halves in (False, True):
        model, batches = fresh(method)
        freeze_statistics(model)
        start = weights(model)
        batch, n = batches[0], len(batches[0]['inputs'])
        if not halves:
            step(model, batch, sgd(model))
        else:
            optimizer = sgd(model, accumulative_counts=2)
            optimizer.initialize_count_status(model, 0, 2)
            for part in (slice(0, n // 2), slice(n // 2, n)):
                step(model, {key: value[part] for key, value in batch.items()}, optimizer)
        ends.append(weights(model))
    return dict(difference=(ends[0] - ends[1]).abs().max().item(), size=(ends[0] - start).abs().max().item())


def compiled(method: str) -> dict:
    """The losses of two steps, as they are and under ``torch.compile`` with the backend that traces and no more."""
    losses = []
    compile_what_goes(method)
    for wrap in (lambda function: function, lambda function: torch.compile(function, backend='eager')):
        model, batches = fresh(method)
        optimizer, go = sgd(model), wrap(model.train_step)
        losses.append([go(copy.deepcopy(batch), optimizer)['loss'].item() for batch in batches])
    return dict(losses=losses)


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    MMLogger.get_instance('mmengine').setLevel(logging.ERROR)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', world_size=2, rank=rank)
    found: dict[str, dict] = {}
    for method in METHODS:
        try:
            found[method] = dict(ddp=under_ddp(rank, method))
        except RuntimeError:
            found[method] = dict(ddp=dict(error=traceback.format_exc()))
    dist.destroy_process_group()
    for method in METHODS[rank::2]:  # one process each from here on
        found[method]['amp'] = with_autocast(method)
        if method in SEPARABLE:
            found[method]['accumulated'] = accumulated(method)
        if method in COMPILED:
            found[method]['compiled'] = compiled(method)
    Path(folder, f'{rank}.json').write_text(json.dumps(found))


if __name__ == '__main__':
    processes = [multiprocessing.get_context('fork').Process(target=work, args=(rank, sys.argv[1])) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(max(abs(process.exitcode) for process in processes))
