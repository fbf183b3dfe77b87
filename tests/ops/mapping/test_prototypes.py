# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from mmentropy.ops.mapping.prototypes import cosine_logits, mean_direction, pick_classes


def test_cosines_by_brute_force():
    rng = np.random.default_rng(0)
    features, prototypes = rng.normal(size=(2, 4, 3, 5)), rng.normal(size=(6, 4))
    expected = np.zeros((2, 6, 3, 5))
    for b, c, i, j in np.ndindex(*expected.shape):
        f, t = features[b, :, i, j], prototypes[c]
        expected[b, c, i, j] = 7 * sum(f * t) / np.sqrt(sum(f * f)) / np.sqrt(sum(t * t))
    found = cosine_logits(torch.from_numpy(features), torch.from_numpy(prototypes), 7.0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    vector = cosine_logits(torch.from_numpy(features[:, :, 1, 2]), torch.from_numpy(prototypes), 7.0)
    np.testing.assert_allclose(vector.numpy(), expected[:, :, 1, 2], atol=1e-12)


def test_lengths_do_not_count_and_zero_knows_nothing():
    features, prototypes = torch.rand(3, 4, dtype=torch.float64), torch.rand(2, 4, dtype=torch.float64)
    torch.testing.assert_close(cosine_logits(5 * features, prototypes), cosine_logits(features, 9 * prototypes))
    assert not cosine_logits(torch.zeros(1, 4), prototypes).any()
    with pytest.raises(ValueError, match=r'must share D, got \(3, 4\) and \(2, 3\)'):
        cosine_logits(features, prototypes[:, :3])


def test_gradients():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    prototypes = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert gradcheck(cosine_logits, (features, prototypes, scale))


def test_mean_direction_of_unit_vectors():
    one, other = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 9.0])
    torch.testing.assert_close(mean_direction(torch.stack([one, other])), torch.tensor([0.6, 1.8]) / np.sqrt(3.6))


def test_a_missing_class_is_named():
    assert pick_classes(['a', 'b', 'c'], ['c', 'a'], 'x.npz') == [2, 0]
    with pytest.raises(KeyError, match=r"x\.npz: no embedding of 2 of the 3 classes, for example 'e', 'f'"):
        pick_classes(['a'], ['e', 'a', 'f'], 'x.npz')
