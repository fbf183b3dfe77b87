# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Region-based dropout on maps and on tokens."""

import torch
from erasers import CONVNEXT, VIT, build

from mmentropy.ops.erasing.feature_erasing import (
    rdap_mask,
    self_attention,
)


def test_rdap_on_convnext_and_on_the_tokens_of_a_transformer(images):
    seen = {}
    for backbone, layer in ((CONVNEXT, 'stages.2'), (VIT, 'layers.0')):
        for size in (None, 2):
            erasing = [] if size is None else [dict(type='mmentropy.RDAP', layers=(layer,), drop_rate=1.0, size=size)]
            model = build(*erasing, backbone=backbone).train().backbone
            model.get_submodule(layer).register_forward_hook(lambda m, i, out, key=size: seen.update({key: out}))
            torch.manual_seed(2)
            model(images)
        plain, erased = seen[None], seen[2]
        if plain.ndim == 3:
            assert torch.equal(erased[:, 0], plain[:, 0])  # the class token
            plain, erased = (x[:, 1:].transpose(1, 2).unflatten(2, (4, 4)) for x in (plain, erased))
        assert torch.equal(erased, plain * rdap_mask(self_attention(plain), 2))
        assert not torch.equal(erased, plain)
