# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a model says of altered images: one number an image, many images a forward pass, each asked once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from mmentropy.ops.mapping.score_functions import SCORE_FUNCTIONS
from mmentropy.ops.network_outputs import raw_scores

#: A network: (N, 3, H, W) images to (N, C) logits, plain or in a tuple, list or dict.
Model = Callable[[Tensor], object]
#: From logits (N, C) and a table of classes (N, K) to scores (N, K), as those of
#: :data:`~mmentropy.ops.mapping.score_functions.SCORE_FUNCTIONS`.
ScoreFunction = Callable[[Tensor, Tensor], Tensor]
#: Scores that compare classes, and say nothing of a single one.
COMPARING = ('probability', 'log_probability')
#: Altered images in a forward pass: on a GPU, and on a CPU at most so many pixels, eight images of 224²: the memory of
#: larger activations is handed out anew by the system in every layer.
GPU_BATCH, CPU_PIXELS = 32, 8 * 224**2


def class_scores(logits: Tensor, classes: Tensor, score: str | ScoreFunction = 'probability') -> Tensor:
    """(N,) float32 scores of one class an image.

    Args:
        logits: (N, C).
        classes: (N,).
        score: a name of :data:`~mmentropy.ops.mapping.score_functions.SCORE_FUNCTIONS`, or a function like those, which
            gets a table (N, 1) of classes and gives (N, 1), or (N,).

    Raises:
        ValueError: for another name, or a function that gives something else.

    >>> class_scores(torch.zeros(1, 3), torch.tensor([2]), 'sigmoid')
    tensor([0.5000])
    >>> class_scores(torch.tensor([[1.0, 4.0]]), torch.tensor([0]), lambda logits, table: logits[:, 0] - logits[:, 1])
    tensor([-3.])
    """
    if not callable(score) and score not in SCORE_FUNCTIONS:
        raise ValueError(
            f'score must be one of {", ".join(SCORE_FUNCTIONS)}, or a function of logits (N, C) and classes (N, 1), '
            f'got {score!r}'
        )
    function = score if callable(score) else SCORE_FUNCTIONS[score]
    found = function(logits.float(), classes[:, None])
    count = len(logits)
    if not isinstance(found, Tensor) or found.shape not in ((count,), (count, 1)) or not found.is_floating_point():
        given = f'{found.dtype} {tuple(found.shape)}' if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f'a score function must give a floating number an image, ({count},), got {given}')
    return found.detach().float().view(count)


def usual_batch(images: Tensor) -> int:
    """How many altered copies of images (N, 3, H, W) a forward pass takes when nobody says it.

    >>> usual_batch(torch.zeros(1, 3, 224, 224)), usual_batch(torch.zeros(1, 3, 64, 64))
    (8, 32)
    """
    if images.device.type != 'cpu':
        return GPU_BATCH
    return min(max(CPU_PIXELS // (images.shape[2] * images.shape[3]), 1), GPU_BATCH)


def class_logits(model: Model, images: Tensor, score: str | ScoreFunction = 'probability') -> Tensor:
    """(N, C) logits of a batch.

    Raises:
        ValueError: when the model gives no (N, C) tensor, or a softmax of one class, which is 1 for every image.

    >>> class_logits(torch.nn.Flatten(), torch.ones(2, 3, 1, 1)).shape
    torch.Size([2, 3])
    """
    logits = raw_scores(model(images), type(model).__name__)
    if logits.ndim != 2 or len(logits) != len(images):
        raise ValueError(
            f'{type(model).__name__} must give (N, C) logits to be asked about an image, it gave {tuple(logits.shape)} '
            f'for {len(images)} image(s)'
        )
    if logits.shape[1] == 1 and score in COMPARING:
        raise ValueError(
            f"{type(model).__name__} has one class, whose softmax is 1 for every image: take score='sigmoid' or 'logit'"
        )
    return logits


def check_classes(classes: Tensor | None, logits: Tensor) -> Tensor:
    """(N,) long classes, or the predicted ones for None.

    Raises:
        ValueError: for another shape, or a class that the model does not have.

    >>> check_classes(None, torch.tensor([[0.1, 2.0], [3.0, 1.0]])).tolist()
    [1, 0]
    """
    if classes is None:
        return logits.argmax(1)
    classes = torch.as_tensor(classes, device=logits.device)
    if classes.shape != logits.shape[:1] or classes.is_floating_point():
        raise ValueError(
            f'classes must be whole numbers, one an image ({len(logits)}), got {classes.dtype} {tuple(classes.shape)}'
        )
    wrong = classes[(classes < 0) | (classes >= logits.shape[1])]
    if len(wrong):
        raise ValueError(f'class {int(wrong[0])} does not exist: the model has the classes 0 to {logits.shape[1] - 1}')
    return classes.long()


def check_maps(images: Tensor, maps: Tensor, unit: bool = False, ordered: bool = False) -> Tensor:
    """Maps that fit their images, as float32 on their device.

    Args:
        images: (N, 3, H, W).
        maps: (N, H, W), at the images' size.
        unit: the image is seen through the map, whose values lie in [0, 1].
        ordered: the map ranks pixels, so it is not constant.

    Raises:
        ValueError: in one sentence that names the first wrong row of the batch.

    >>> check_maps(torch.zeros(1, 3, 2, 2), torch.ones(1, 2, 2), unit=True).shape
    torch.Size([1, 2, 2])
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f'images must be a batch (N, 3, H, W) with N > 0, got {tuple(images.shape)}')
    if not isinstance(maps, Tensor) or maps.shape != images.shape[:1] + images.shape[2:]:
        given = tuple(maps.shape) if hasattr(maps, 'shape') else type(maps).__name__
        wanted = (len(images), *images.shape[2:])
        raise ValueError(
            f'maps must be a tensor {wanted}, one map an image and as large, got {given}: draw them with draw_maps'
        )
    maps = maps.detach().to(images.device, torch.float32)
    low, high = maps.flatten(1).amin(1), maps.flatten(1).amax(1)
    _name_first(~torch.isfinite(high - low), 'holds NaN or infinite values; every pixel needs a finite value')
    if unit:
        outside = (low < -1e-6) | (high > 1 + 1e-6)
        _name_first(outside, 'is not within [0, 1], as an image is seen through it: bring it there by normalize_map')
    if ordered:
        _name_first(high <= low, 'is constant and ranks no pixel before another: leave it out')
    return maps


def _name_first(wrong: Tensor, fault: str) -> None:
    if wrong.any():
        raise ValueError(f'map {int(wrong.nonzero()[0])} of the batch {fault}')


def constant_maps(maps: Tensor) -> Tensor:
    """(N,) bool: maps (N, H, W) that have one value throughout, and rank nothing.

    >>> constant_maps(torch.tensor([[[1.0, 1.0]], [[0.0, 1.0]]]))
    tensor([ True, False])
    """
    return maps.flatten(1).amin(1) == maps.flatten(1).amax(1)


def image_scores(
    model: Model,
    images: Tensor,
    classes: Tensor | None = None,
    score: str | ScoreFunction = 'probability',
    batch_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Scores (N,) of the images themselves and the classes (N,) that were asked about: the predicted ones for None.

    >>> image_scores(lambda x: x[:, :, 0, 0], torch.tensor([[[[0.0]], [[2.0]], [[1.0]]]]), score='logit')
    (tensor([2.]), tensor([1]))
    """
    size = _checked_batch(batch_size, images)
    with torch.no_grad():
        logits = torch.cat([class_logits(model, part, score) for part in images.split(size)])
        classes = check_classes(classes, logits)
        return class_scores(logits, classes, score), classes


def _checked_batch(batch_size: int | None, images: Tensor) -> int:
    if batch_size is not None and batch_size < 1:
        raise ValueError(f'batch_size counts images and is at least 1, got {batch_size}')
    return usual_batch(images) if batch_size is None else batch_size


class Alteration(ABC):
    """A series of altered copies of each image of a batch, made when they are asked for.

    Attributes:
        count: copies of an image, in the order in which they are altered further and further.
    """

    count: int = 1

    @abstractmethod
    def make(self, images: Tensor, rows: Tensor, steps: Tensor) -> Tensor:
        """Copies (B, C, H, W): of row ``rows[b]`` of the batch ``images``, at step ``steps[b]``."""


def alteration_scores(
    model: Model,
    images: Tensor,
    classes: Tensor,
    alterations: Mapping[str, Alteration],
    score: str | ScoreFunction = 'probability',
    batch_size: int | None = None,
) -> dict[str, Tensor]:
    """Scores of all altered copies of a batch of images: copies of several images and series share a forward pass.

    The first steps of all series come first.

    Args:
        model: the network.
        images: (N, 3, H, W) network inputs.
        classes: (N,) the class that is asked about.
        alterations: name → series.
        score: see :func:`class_scores`.
        batch_size: copies in a forward pass; None leaves it to :func:`usual_batch`.

    Returns:
        name → (N, count) float32, on the images' device.

    >>> class Brighter(Alteration):
    ...     count = 2
    ...     def make(self, images, rows, steps):
    ...         return images[rows] + steps[:, None, None, None]
    >>> model = lambda x: torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1)
    >>> alteration_scores(model, torch.ones(2, 3, 4, 4), torch.tensor([0, 1]), {'all': Brighter()}, 'logit')
    {'all': tensor([[ 1.,  2.],
            [-1., -2.]])}
    """
    size = _checked_batch(batch_size, images)
    out = {name: images.new_empty((len(images), one.count), dtype=torch.float32) for name, one in alterations.items()}
    for jobs in _batches(alterations, len(images), size, images.device):
        parts = [alterations[name].make(images, rows, steps) for name, rows, steps in jobs]
        rows = torch.cat([rows for _, rows, _ in jobs])
        with torch.no_grad():
            found = class_scores(class_logits(model, torch.cat(parts), score), classes[rows], score)
        for (name, rows, steps), scores in zip(jobs, found.split([len(part) for part in parts])):
            out[name][rows, steps] = scores
    return out


def _batches(
    alterations: Mapping[str, Alteration], images: int, batch_size: int, device: torch.device
) -> Iterator[list[tuple[str, Tensor, Tensor]]]:
    """Jobs (series, rows, steps) of each forward pass, the first steps first."""
    jobs = [
        (step, name, row) for name, one in alterations.items() for step in range(one.count) for row in range(images)
    ]
    order = {name: number for number, name in enumerate(alterations)}
    jobs.sort(key=lambda job: (job[0], order[job[1]], job[2]))
    for start in range(0, len(jobs), batch_size):
        by_name: dict[str, list[tuple[int, int]]] = {}
        for step, name, row in jobs[start : start + batch_size]:
            by_name.setdefault(name, []).append((row, step))
        tables = {name: torch.tensor(pairs, device=device) for name, pairs in by_name.items()}
        yield [(name, table[:, 0], table[:, 1]) for name, table in tables.items()]
