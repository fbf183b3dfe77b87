# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What is asked of a network: classes, a score function of theirs, targets written by hand, a segmentor's region."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmentropy.ops.mapping.score_functions import SCORE_FUNCTIONS, box_mask, region_mean
from mmentropy.ops.mapping.views import View

Classes = Tensor | Sequence | int | Callable[[Tensor], Tensor] | None
#: From logits (B, C), or (B, C, h, w), to a number an image, (B,), or several, (B, K).
Target = Callable[[Tensor], Tensor]
#: A name of :data:`~mmentropy.ops.mapping.score_functions.SCORE_FUNCTIONS`, or a function like those.
ScoreFunction = str | Callable[[Tensor, Tensor], Tensor]
#: ``predicted``, ``all``, a mask, or a box; see :class:`Question`.
Region = str | Tensor | Sequence
REGIONS = ('predicted', 'all')
#: In the table of classes, where a target of its own is asked for.
NO_CLASS = -1


def class_table(classes: Classes, logits: Tensor) -> Tensor:
    """What the caller asked for as an (N, K) table.

    Args:
        classes: None for all classes; one int for every image alike; (N,) one class an image; (N, K); or a function
            from the logits to one of these.
        logits: (N, C) of the batch.

    Raises:
        ValueError: for more or fewer rows than images, rows of different length, or a class outside [0, C).
    """
    num_images, num_classes = logits.shape
    if callable(classes):
        classes = classes(logits)
    if classes is None:
        return torch.arange(num_classes, device=logits.device).expand(num_images, -1)
    if isinstance(classes, int):
        classes = [classes] * num_images
    try:
        table = torch.as_tensor(classes, device=logits.device)
    except (TypeError, ValueError):
        raise ValueError(f'classes must be whole numbers, with as many for each image, got {classes!r}') from None
    if table.is_floating_point() or table.ndim not in (1, 2):
        raise ValueError(
            f'classes must be whole numbers, (N,) or (N, K), got {table.dtype} {tuple(table.shape)}; '
            'a score of your own goes in as targets='
        )
    if len(table) != num_images:
        raise ValueError(
            f'classes were asked for {len(table)} image(s), but the batch has {num_images}: '
            'give one row of classes an image'
        )
    table = table.long().view(num_images, -1)
    wrong = table[(table < 0) | (table >= num_classes)]
    if wrong.numel():
        raise ValueError(f'class {int(wrong[0])} does not exist: the model has the classes 0 to {num_classes - 1}')
    return table


@dataclass(frozen=True)
class Question:
    """What is asked of a batch.

    Attributes:
        classes: see :func:`class_table`.
        targets: in place of classes: a function for the batch, or a list, one an image, each of which gets its image's
            logits as a batch of one.
        function: of a class: a name of :data:`~mmentropy.ops.mapping.score_functions.SCORE_FUNCTIONS`, or a function
            (logits, table) -> scores.
        region: of a segmentor: over which pixels the scores are averaged. ``predicted``, those where the class is the
            largest; ``all``; a mask, (H, W) or (N, H, W), non-zero inside; or a box x0 y0 x1 y1, or (N, 4), in pixels
            of the input. None is ``predicted`` for classes, ``all`` for targets.

    Raises:
        ValueError: for classes and targets at once, an unknown function or region.

    >>> question = Question(classes=1, function='margin')
    >>> question.of(torch.tensor([[1.0, 4.0, 2.0]])).values
    tensor([[2.]])
    """

    classes: Classes = None
    targets: Target | Sequence[Target] | None = None
    function: ScoreFunction = 'logit'
    region: Region | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and self.targets is not None:
            raise ValueError('give classes or targets, not both: a target says itself what it scores')
        listed = self.targets if isinstance(self.targets, Sequence) else [self.targets]
        if self.targets is not None and not all(map(callable, listed)):
            raise ValueError(f'targets must be a function of the logits, or a list of them, got {self.targets!r}')
        check_function(self.function)
        if isinstance(self.region, str) and self.region not in REGIONS:
            raise ValueError(f'region must be one of {", ".join(REGIONS)}, a mask or a box, got {self.region!r}')

    @property
    def plain(self) -> bool:
        """Whether logits of classes are asked for, and nothing else."""
        return self.targets is None and self.function == 'logit'

    def seen_by(self, view: View, images: Tensor) -> Question:
        """The same in a view: masks and boxes are resized and mirrored with the images (N, 3, H, W)."""
        if self.region is None or isinstance(self.region, str):
            return self
        masks = region_mask(self.region, images)
        return replace(self, region=view.turned(F.interpolate(masks[:, None], view.size, mode='area'))[:, 0])

    def of(self, logits: Tensor) -> Asked:
        """The question put to the logits (N, C), or (N, C, H, W) of a segmentor, of the images themselves.

        Raises:
            ValueError: where it does not fit them.
        """
        dense = logits.ndim == 4
        if self.region is not None and not dense:
            raise ValueError('a region is one of the pixels of a segmentor, and this model gives one score an image')
        if self.targets is None:
            table = class_table(self.classes, logits.detach().mean((2, 3)) if dense else logits.detach())
        else:
            if not callable(self.targets) and len(self.targets) != len(logits):
                raise ValueError(
                    f'{len(self.targets)} target(s) were given, but the batch has {len(logits)} image(s): '
                    'give one an image, or one function for all'
                )
            table = None
        asked = Asked(self, table, self._weights(logits.detach(), table) if dense else None)
        if table is None:
            values = asked.scores(logits)
            asked = replace(asked, table=torch.full(values.shape, NO_CLASS, device=logits.device))
        return replace(asked, values=asked.scores(logits).detach())

    def _weights(self, logits: Tensor, table: Tensor | None) -> Tensor:
        """(N, 1 or K, h, w): the region at the places of the logits."""
        usual = 'all' if table is None else 'predicted'
        region = usual if self.region is None else self.region
        if isinstance(region, str) and region == 'all':
            return logits.new_ones(len(logits), 1, *logits.shape[2:])
        if isinstance(region, str):
            if table is None:
                raise ValueError('a target of its own has no predicted pixels; give a mask, a box or region="all"')
            return (logits.argmax(1, keepdim=True) == table[:, :, None, None]).to(logits.dtype)
        return F.interpolate(region[:, None].to(logits), logits.shape[2:], mode='area')


def check_function(function: ScoreFunction) -> ScoreFunction:
    """A function, or a name of one.

    Raises:
        ValueError: for another name.
    """
    if not callable(function) and function not in SCORE_FUNCTIONS:
        raise ValueError(f'score_function must be one of {", ".join(SCORE_FUNCTIONS)}, or a function, got {function!r}')
    return function


def region_mask(region: Tensor | Sequence, images: Tensor) -> Tensor:
    """(N, H, W) float32, 1 inside, of masks or boxes in the pixels of the images (N, 3, H, W).

    Raises:
        ValueError: for another shape, or an empty region.
    """
    given = torch.as_tensor(region, device=images.device)
    count, size = len(images), (images.shape[2], images.shape[3])
    if given.shape in ((4,), (count, 4)):
        return box_mask(given.expand(count, 4), size)
    if given.shape not in (size, (count, *size)):
        raise ValueError(
            f'region must be a mask {size} or {(count, *size)}, or a box (4,) or ({count}, 4), for these images, '
            f'got {tuple(given.shape)}'
        )
    masks = (given != 0).float().expand(count, *size)
    empty = (~masks.flatten(1).any(1)).nonzero()
    if len(empty):
        raise ValueError(f'the region of image {int(empty[0])} is empty: there is no pixel to explain')
    return masks


@dataclass(frozen=True)
class Asked:
    """A question put to a batch.

    Attributes:
        question: itself.
        table: (N, K) long classes; :data:`NO_CLASS` for targets.
        weights: (N, 1 or K, h, w) of a segmentor's region.
        values: (N, K) scores of the images.

    >>> logits = torch.tensor([[1.0, 4.0, 2.0]])
    >>> asked = Question(targets=lambda logits: logits[:, 0] * logits[:, 1]).of(logits)
    >>> asked.table.tolist(), asked.slopes(logits).tolist()
    ([[-1]], [[[4.0, 1.0, 0.0]]])
    """

    question: Question
    table: Tensor | None
    weights: Tensor | None = None
    values: Tensor | None = None

    def scores(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """(B, K) scores; gradients flow.

        Args:
            logits: of the images, or of copies of them.
            rows: (B,) of which image each is a copy; None where they are the images themselves.

        Raises:
            ValueError: where a function gives something else.
        """
        values = self._values(logits, rows)
        if values.ndim == 4:
            values = region_mean(values, self.weights if rows is None else self.weights[rows])
        return values

    def places(self, logits: Tensor) -> Tensor:
        """(N, K, h, w): the scores at every pixel of a segmentor's logits (N, C, h, w).

        Raises:
            ValueError: where a target gives one number an image.
        """
        values = self._values(logits, None)
        if values.ndim != 4:
            raise ValueError(f'{self._called} must give a score at every pixel, (N, h, w) or (N, K, h, w)')
        return values

    def differentiable(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """The scores, for a backward pass; see :meth:`scores`.

        Raises:
            ValueError: where a function cuts the gradient off.
        """
        with torch.enable_grad():
            scores = self.scores(logits, rows)
        if not scores.requires_grad:
            raise ValueError(
                f'{self._called} gives scores without a gradient; compute them from the logits by torch alone'
            )
        return scores

    @property
    def _called(self) -> str:
        return _name(self.question.targets or self.question.function)

    def _values(self, logits: Tensor, rows: Tensor | None) -> Tensor:
        """(B, K), or (B, K, h, w), as the function gives them."""
        function, targets = self.question.function, self.question.targets
        if targets is None:
            named = SCORE_FUNCTIONS[function] if isinstance(function, str) else function
            table = self.table if rows is None else self.table[rows]
            values = _tried(lambda: named(logits, table), function)
        elif callable(targets):
            values = _tried(lambda: targets(logits), targets)
        else:
            order = range(len(logits)) if rows is None else rows.tolist()
            parts = [_tried(lambda n=n, i=i: targets[n](logits[i : i + 1]), targets[n]) for i, n in enumerate(order)]
            if len({part.shape for part in parts}) > 1:
                raise ValueError(f'targets must give as many scores each, got {[tuple(p.shape) for p in parts]}')
            values = torch.cat(parts)
        values = values[:, None] if values.ndim in (1, 3) else values
        if (
            values.shape[:1] != logits.shape[:1]
            or values.ndim not in (2, logits.ndim)
            or not values.is_floating_point()
        ):
            raise ValueError(
                f'{self._called} must give a floating number for each of the {len(logits)} image(s), '
                f'(N,) or (N, K), got {values.dtype} {tuple(values.shape)}'
            )
        return values

    def slopes(self, logits: Tensor, chunk: int = 64) -> Tensor:
        """(N, K, C), the gradient of each score by the logits (N, C); ``chunk`` scores at once."""
        leaf = logits.detach().clone().requires_grad_(True)
        scores = self.differentiable(leaf)
        return torch.cat([batched_grad(scores, leaf, k, k + chunk) for k in range(0, scores.shape[1], chunk)]).movedim(
            0, 1
        )

    def rows(self, weight: Tensor, logits: Tensor) -> Tensor:
        """(N, K, D): a linear classifier (C, D) seen by each score: its row for a class, a mixture of rows else."""
        if self.question.plain:
            return weight.expand(len(logits), -1, -1) if self.question.classes is None else weight[self.table]
        return self.slopes(logits).to(weight.dtype) @ weight


def batched_grad(scores: Tensor, leaf: Tensor, start: int, stop: int) -> Tensor:
    """As :func:`batched_grads`, by one tensor."""
    return batched_grads(scores, [leaf], start, stop)[0]


def batched_grads(scores: Tensor, leaves: Sequence[Tensor], start: int, stop: int) -> Sequence[Tensor]:
    """Gradients (k, …), each as its leaf, of the columns ``start`` to ``stop`` of (N, K) scores, in one pass.

    Images do not touch each other: the gradient of a column's sum is each image's own.
    """
    stop = min(stop, scores.shape[1])
    ones = torch.eye(scores.shape[1], device=scores.device, dtype=scores.dtype)[start:stop, None]
    ones = ones.expand(-1, len(scores), -1)
    if len(ones) == 1:  # the plain rules are faster than the batched ones
        return [slope[None] for slope in torch.autograd.grad(scores, leaves, ones[0], retain_graph=True)]
    try:
        return torch.autograd.grad(scores, leaves, ones, retain_graph=True, is_grads_batched=True)
    except RuntimeError:  # an operation without a batching rule: one class after the other
        one_by_one = [torch.autograd.grad(scores, leaves, one, retain_graph=True) for one in ones]
        return [torch.stack(slopes) for slopes in zip(*one_by_one)]


def _name(function: object) -> str:
    return str(getattr(function, '__name__', function if isinstance(function, str) else 'a target'))


def _tried(call: Callable[[], Tensor], function: object) -> Tensor:
    try:
        values = call()
    except IndexError as error:
        raise ValueError(
            f'{_name(function)} asks the logits for what they have not ({error}); a target gets (N, C) logits, '
            'of a segmentor (N, C, H, W)'
        ) from None
    if not isinstance(values, Tensor):
        raise ValueError(f'{_name(function)} must give a tensor, (N,) or (N, K), got {type(values).__name__}')
    return values
