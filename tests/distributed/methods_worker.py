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

#: Whose losses are means over the locations that count, wherever in the batch they are: a part of a batch has another
#: divisor. With the same images in every part the divisors agree.
COUNTED = ('spg', 'affinity')


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


def separable(method: str) -> tuple[torch.nn.Module, list[dict]]:
    """A model in which a sample does not depend on the others of its batch, and the four quarters of a batch."""
    model, batches = fresh(method)
    freeze_statistics(model)
    for module in model.modules():  # ADL and RDAP draw once a batch whether to erase: here they always do
        if hasattr(module, 'drop_rate'):
            module.drop_rate = 1.0
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.eval()
    batch, n = batches[0], len(batches[0]['inputs']) // 4
    quarters = [{key: value[i * n : (i + 1) * n] for key, value in batch.items()} for i in range(4)]
    return model, [quarters[0]] * 4 if method in COUNTED else quarters


def together(parts: list[dict]) -> dict:
    return {key: [item for part in parts for item in part[key]] for key in parts[0]}


def difference(found: torch.Tensor, wanted: torch.Tensor, start: torch.Tensor) -> dict:
    """How far two steps from ``start`` end apart, and how long the wanted one is: largest entry each."""
    return dict(difference=(found - wanted).abs().max().item(), size=(wanted - start).abs().max().item())


def whole_step(method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights before and after one step on the whole batch, in one process."""
    model, parts = separable(method)
    start = weights(model)
    step(model, together(parts), sgd(model))
    return start, weights(model)


def accumulated(method: str) -> dict:
    """Two accumulated halves in one process against one whole batch."""
    start, wanted = whole_step(method)
    model, parts = separable(method)
    optimizer = sgd(model, accumulative_counts=2)
    optimizer.initialize_count_status(model, 0, 2)
    for half in (parts[:2], parts[2:]):
        step(model, together(half), optimizer)
    return difference(weights(model), wanted, start)


def accumulated_under_ddp(rank: int, method: str, wrapper: type[OptimWrapper]) -> dict:
    """Two accumulated quarters in each of two processes against one whole batch in one process."""
    start, wanted = whole_step(method)
    model, parts = separable(method)
    wrapped = MMDistributedDataParallel(model, device_ids=None)
    optimizer = sgd(model, wrapper, accumulative_counts=2)
    optimizer.initialize_count_status(wrapped, 0, 2)
    moved = []
    for part in parts[2 * rank : 2 * rank + 2]:
        step(wrapped, part, optimizer)
        moved.append(not torch.equal(weights(model), start))
    own = weights(model)
    both = [torch.empty_like(own) for _ in range(2)]
    dist.all_gather(both, own)
    cosine = torch.cosine_similarity(own - start, wanted - start, dim=0).item()
    return dict(moved=moved, equal=torch.equal(*both), cosine=cosine, **difference(own, wanted, start))


def compiled(method: str) -> dict:
    """The losses of two steps, as they are and under ``torch.compile`` with the backend that traces and no more."""
    losses = []
    torch._dynamo.reset()
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
            for name, wrapper in (('float32', OptimWrapper), ('bfloat16', CpuAmpOptimWrapper)):
                found[method][name] = accumulated_under_ddp(rank, method, wrapper)
        except RuntimeError:
            found[method] = dict(ddp=dict(error=traceback.format_exc()))
    dist.destroy_process_group()
    for method in METHODS[rank::2]:  # one process each from here on
        found[method]['amp'] = with_autocast(method)
        found[method]['accumulated'] = accumulated(method)
        found[method]['compiled'] = compiled(method)
    Path(folder, f'{rank}.json').write_text(json.dumps(found))


if __name__ == '__main__':
    processes = [multiprocessing.get_context('fork').Process(target=work, args=(rank, sys.argv[1])) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(max(abs(process.exitcode) for process in processes))
