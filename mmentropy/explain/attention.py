# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps of vision transformers from their attention: LeGrad, rollout, gradient times attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmentropy.ops.mapping import attention_maps as ops
from mmentropy.ops.mapping.token_maps import infer_layout
from mmentropy.registry import EXPLAINERS

from .anatomy import declared_tokens
from .attending import Attention, AttentionRecorder
from .explainer import Explainer, Explanation, explanation
from .targets import Question, batched_grads
from .watching import hooked, last_tensor, run, with_last_tensor


class AttentionExplainer(Explainer):
    """A method that reads attention among all patches; where a network has none, a sentence says so."""

    def _recorded(self, images: Tensor) -> tuple[list[Attention], Tensor]:
        """The attention of each block among the patches, and the logits; with gradients where they are on."""
        recorder = AttentionRecorder()
        with recorder.watching(self.model):
            logits = run(self.model, images)
        return self._among_patches(recorder, images), logits

    def _among_patches(self, recorder: AttentionRecorder, images: Tensor) -> list[Attention]:
        calls = [call for call in recorder.calls if len(call.probabilities) == len(images)]
        most = max((call.probabilities.shape[-1] for call in calls), default=0)
        calls = [call for call in calls if call.probabilities.shape[-1] == most]
        size = (images.shape[2], images.shape[3])
        layout = infer_layout((1, most, 1), size, 1, declared_tokens(self.model)) if calls else None
        if layout is None:
            raise ValueError(
                f'{type(self).__name__} reads the attention among all patches of a vision transformer, and '
                f'{type(self.model).__name__} has none for an image of {size[0]}x{size[1]} pixels; use GradCAM'
            )
        self._layout = layout
        return calls

    @property
    def _extra(self) -> int:
        return self._layout.extra_tokens

    def _as_maps(self, patches: Tensor) -> Tensor:
        """(N, K, h, w) of (N, K, patches)."""
        return patches.unflatten(2, self._layout.size)

    def _slopes(self, scores: Tensor, calls: list[Attention], draw: Callable) -> Tensor:
        """(N, K, patches) that ``draw`` makes of the gradients (N, k, heads, n, n) of each block, in chunks."""
        leaves = [call.probabilities for call in calls]
        parts = []
        for start in range(0, scores.shape[1], self.class_chunk):
            stop = start + self.class_chunk
            parts.append(draw([slope.movedim(0, 1) for slope in batched_grads(scores, leaves, start, stop)]))
        return torch.cat(parts, 1)


@EXPLAINERS.register_module()
class AttentionRollout(AttentionExplainer):
    """How attention carries patches to the class token; one map an image, of no class.

    See :func:`mmentropy.ops.mapping.attention_maps.attention_rollout`.

    >>> import torchvision
    >>> model = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5).eval()
    >>> AttentionRollout(model)(torch.rand(2, 3, 32, 32)).maps.shape
    torch.Size([2, 1, 4, 4])
    """

    class_agnostic = True

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        calls, logits = self._recorded(images)
        patches = ops.attention_rollout([call.probabilities for call in calls], self._extra)
        return explanation(self._as_maps(patches[:, None]), question.of(logits), logits)


@EXPLAINERS.register_module()
class GradAttention(AttentionExplainer):
    """Attention weighted by the gradient of the score, and rolled out.

    See :func:`mmentropy.ops.mapping.attention_maps.gradient_attention`. One forward and one backward pass serve all
    images and ``class_chunk`` scores.

    >>> import torchvision
    >>> model = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5).eval()
    >>> _ = nn.init.normal_(model.heads.head.weight)  # it starts at zero, where no class says anything
    >>> GradAttention(model)(torch.rand(2, 3, 32, 32), classes=[1, 4]).maps.shape
    torch.Size([2, 1, 4, 4])
    """

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        with torch.enable_grad():
            calls, logits = self._recorded(images)
        asked, attention = question.of(logits), [call.probabilities.detach() for call in calls]
        scores = asked.differentiable(logits)
        patches = self._slopes(scores, calls, lambda s: ops.gradient_attention(attention, s, self._extra))
        return explanation(self._as_maps(patches), asked, logits)


@EXPLAINERS.register_module()
class LeGrad(AttentionExplainer):
    r"""What the class score behind each block gains by attending to a patch.

    See :func:`mmentropy.ops.mapping.attention_maps.legrad`. The score :math:`s^l` behind block l is what the model's
    own last layers (norm, head) make of that block's tokens. One forward pass gives all of them: the tokens of all
    blocks go through the last layers as one batch, and each block's graph starts at its input, so that one backward
    pass serves all blocks, images and ``class_chunk`` scores.

    Args:
        tokens: ``mean``: the last layers read the mean over a block's tokens, as the torch-cam package and the authors
            have it; ``own``: they read what they read of the last block.
        **kwargs: see :class:`~mmentropy.explain.explainer.Explainer`.

    Raises:
        ValueError: for other tokens.

    >>> import torchvision
    >>> model = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5).eval()
    >>> _ = nn.init.normal_(model.heads.head.weight)  # it starts at zero, where no class says anything
    >>> LeGrad(model)(torch.rand(2, 3, 32, 32), classes=[1, 4]).maps.shape
    torch.Size([2, 1, 4, 4])
    """

    def __init__(self, model, tokens: str = 'mean', **kwargs) -> None:
        if tokens not in ('mean', 'own'):
            raise ValueError(f"tokens must be 'mean' or 'own', got {tokens!r}")
        super().__init__(model, **kwargs)
        self.tokens = tokens
        self._blocks: list[nn.Module] = []

    def _maps(self, images: Tensor, question: Question) -> Explanation:
        if not self._blocks:
            self._blocks = self._find_blocks(self._recorded(images[:1])[0])
        recorder, outputs, count = AttentionRecorder(), [], len(images)

        def restart(module: nn.Module, inputs: tuple) -> tuple:
            return (inputs[0].detach(), *inputs[1:])

        def gather(module: nn.Module, inputs: tuple, output: object) -> object:
            outputs.append(last_tensor(output))
            if len(outputs) < len(self._blocks):
                return output
            read = torch.cat(outputs)
            if self.tokens == 'mean':
                read = read.flatten(1, -2).mean(1).view(len(read), *[1] * (read.ndim - 2), -1).expand_as(read)
            return with_last_tensor(output, torch.cat([read, outputs[-1]]))  # the last: the network's own answer

        handles = [block.register_forward_pre_hook(restart) for block in self._blocks]
        handles += [block.register_forward_hook(gather) for block in self._blocks]
        with torch.enable_grad():
            with hooked(handles), recorder.watching(self.model):
                scored = run(self.model, images)
            if len(scored) != count * (len(self._blocks) + 1):
                raise ValueError(f'{type(self.model).__name__} does not score the tokens of all blocks as one batch')
            asked, rows = question.of(scored[-count:]), torch.arange(count, device=images.device)
            # No block's score depends upon another's attention: the sum over blocks has each one's gradient.
            total = sum(asked.scores(part, rows) for part in scored[:-count].split(count))
        patches = self._slopes(total, self._among_patches(recorder, images), lambda s: ops.legrad(s, self._extra))
        return explanation(self._as_maps(patches), asked, scored[-count:])

    def _find_blocks(self, calls: list[Attention]) -> list[nn.Module]:
        """For each call of attention the outermost module that makes no other one: its block."""
        names = []
        for call in calls:
            others = {name for other in calls if other is not call for name in other.modules}
            names.append(next((name for name in call.modules if name and name not in others), ''))
        if '' in names:
            raise ValueError(
                f'the blocks of {type(self.model).__name__} are no modules of their own; use GradAttention'
            )
        return [self.model.get_submodule(name) for name in names]
