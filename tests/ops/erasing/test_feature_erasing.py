# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks of the feature erasers by hand."""

import pytest
import torch

from mmentropy.ops.erasing.feature_erasing import (
    acol_mask,
    adl_drop_mask,
    adl_importance,
    apply_to_tokens,
    fuse_maps,
    label_map,
    normalized,
    rdap_mask,
    self_attention,
)

ATTENTION = torch.tensor([[[[1.0, 2.0, 3.0], [9.0, 10.0, 8.9], [0.0, -4.0, 9.5]]]])


def test_attention_is_the_mean_over_channels():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 6.0]]]])
    assert self_attention(features).tolist() == [[[[2.0, 4.0]]]]


def test_adl_masks_by_hand():
    """γ = 0.9 of the maximum 10: values of 9 and more are dropped."""
    assert adl_drop_mask(ATTENTION, 0.9).tolist() == [[[[1, 1, 1], [0, 0, 1], [1, 1, 0]]]]
    torch.testing.assert_close(adl_importance(ATTENTION), 1 / (1 + (-ATTENTION).exp()))


def test_adl_threshold_is_each_images_own():
    both = torch.cat([ATTENTION, ATTENTION / 100])
    assert torch.equal(adl_drop_mask(both)[0], adl_drop_mask(both)[1])


def test_adl_keeps_a_map_without_a_positive_value():
    assert adl_drop_mask(torch.zeros(1, 1, 2, 2)).tolist() == [[[[1, 1], [1, 1]]]]
    assert adl_drop_mask(-ATTENTION.abs() - 1).min() == 1


def test_rdap_square_by_hand():
    attention = torch.zeros(3, 1, 4, 5)
    attention[0, 0, 2, 2] = attention[1, 0, 0, 4] = attention[2, 0, 3, 0] = 1
    masks = rdap_mask(attention, 3)[:, 0].tolist()
    assert masks[0] == [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1]]
    assert masks[1] == [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]
    assert masks[2] == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1]]
    # Even sides reach one further up and left.
    assert rdap_mask(attention, 2)[0, 0].tolist() == [[1] * 5, [1, 0, 0, 1, 1], [1, 0, 0, 1, 1], [1] * 5]


@pytest.mark.parametrize(('size', 'side'), [(0.25, 1), (0.5, 2), (1.0, 4), (0.01, 1), (1, 1)])
def test_rdap_size_as_a_share_of_the_shorter_side(size, side):
    attention = torch.zeros(1, 1, 4, 9)
    attention[0, 0, 2, 4] = 1
    assert (rdap_mask(attention, size) == 0).sum() == side**2


@pytest.mark.parametrize('size', [0, -1, 1.5])
def test_rdap_refuses_other_sizes(size):
    with pytest.raises(ValueError, match='size is a number of locations'):
        rdap_mask(ATTENTION, size)


def test_acol_region_by_hand():
    maps = torch.tensor([[[[0.0, 5.0], [8.0, 10.0]], [[3.0, 3.0], [3.0, 3.0]]]])
    attention = label_map(maps, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(attention, torch.tensor([[[[0.0, 0.5], [0.8, 1.0]]]]))
    assert acol_mask(attention, 0.7).tolist() == [[[[1, 1], [0, 0]]]]
    # A constant map finds nothing, so nothing is erased; a threshold of 1 erases nothing.
    assert acol_mask(label_map(maps, torch.tensor([[0.0, 1.0]])), 0.7).min() == 1
    assert acol_mask(attention, 1.0).min() == 1


def test_label_map_of_several_labels_is_their_highest():
    maps = torch.tensor([[[[0.0, 1.0, 0.5]], [[2.0, 0.0, 1.5]], [[9.0, 9.0, 0.0]]]])
    both = label_map(maps, torch.tensor([[0.3, 0.7, 0.0]]))
    torch.testing.assert_close(both, torch.tensor([[[[1.0, 1.0, 0.75]]]]))


def test_fused_maps_by_hand():
    first, second = torch.tensor([[0.0, 2.0], [4.0, 1.0]]), torch.tensor([[10.0, 0.0], [0.0, 5.0]])
    torch.testing.assert_close(fuse_maps(first, second), torch.tensor([[1.0, 0.5], [1.0, 0.5]]))
    assert normalized(torch.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]


def test_tokens_are_erased_as_their_map():
    maps = torch.randn(2, 3, 4, 4)
    tokens = torch.cat([torch.randn(2, 1, 3), maps.flatten(2).transpose(1, 2)], 1)
    erased = apply_to_tokens(lambda x: x * rdap_mask(self_attention(x), 2), tokens, extra=1)
    assert torch.equal(erased[:, :1], tokens[:, :1])
    expected = maps * rdap_mask(self_attention(maps), 2)
    assert torch.equal(erased[:, 1:].transpose(1, 2).view_as(maps), expected)
    with pytest.raises(ValueError, match='no square map'):
        apply_to_tokens(lambda x: x, tokens, extra=0)
