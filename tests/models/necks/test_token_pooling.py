# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import pytest
import torch

from mmentropy.models import TokenPooling


def test_takes_the_vector_before_the_map():
    token, features = torch.rand(2, 6), torch.rand(2, 6, 4, 4)
    assert TokenPooling()((token, features)) == (token,)
    with pytest.raises(ValueError, match='gives no class token before its map'):
        TokenPooling()((features,))
