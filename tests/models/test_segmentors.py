# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""AffinityNet and DSRGSegmentor: their losses and targets against the plain functions, and that they learn."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData

from mmentropy.ops.refining.affinity import affinity_labels, affinity_loss, feature_affinity
from mmentropy.ops.refining.dense_crf import dense_crf, unary_from_probability
from mmentropy.ops.refining.region_growing import grow_regions
from mmentropy.registry import MODELS

mmseg = pytest.importorskip('mmseg', reason='mmsegmentation is not installed')
from mmseg.structures import SegDataSample  # noqa: E402


def build(repo_root, name, **options):
    torch.manual_seed(0)
    cfg = Config.fromfile(str(repo_root / f'configs/voc/{name}.py'))
    init_default_scope('mmseg')
    model = copy.deepcopy(cfg.model)
    model.update(options)
    return MODELS.build(model)


def samples(masks):
    return [SegDataSample(gt_sem_seg=PixelData(data=mask[None]), metainfo={'img_shape': mask.shape}) for mask in masks]


@pytest.fixture
def scenes():
    """Two images of a bright square on dark ground; seeds on a part of each."""
    images, masks = torch.randn(2, 3, 64, 64) * 0.1 - 1, torch.full((2, 64, 64), 255)
    for b, label in enumerate((1, 3)):
        images[b, label % 3, 16:48, 16:48] += 2
        masks[b, 24:40, 24:40] = label
        masks[b, :8] = 0
    return images, masks


def test_affinity_net_loss_is_the_affinity_loss(repo_root, scenes):
    model = build(repo_root, 'affinity_r18_partshapes').eval()
    images, masks = scenes
    loss = model(images, samples(masks), mode='loss')['loss_affinity']
    found = model(images, mode='tensor')
    labels = masks[:, :: 64 // found.shape[2], :: 64 // found.shape[3]]
    want = affinity_loss(feature_affinity(found, model.offsets), *affinity_labels(labels, model.offsets))
    torch.testing.assert_close(loss, want)
    assert model(images, samples(masks), mode='predict')[1].affinity_features.shape == found.shape[1:]


def test_affinity_net_learns_the_border(repo_root, scenes):
    model = build(repo_root, 'affinity_r18_partshapes')
    images, masks = scenes
    full = torch.where(masks == 255, 0, masks)
    full[0, 16:48, 16:48], full[1, 16:48, 16:48] = 1, 3
    head = [p for name, p in model.named_parameters() if not name.startswith('backbone')]
    optimizer = torch.optim.Adam(head, lr=0.02)
    values = []
    for _ in range(40):
        loss = model(images, samples(full), mode='loss')['loss_affinity']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.5 * values[0]
    # A frozen backbone gets no gradient.
    assert all(p.grad is None for p in model.backbone.parameters())
    # On an image as the pipeline gives it, RGB uint8, at any number of locations.
    rgb = torch.randint(0, 255, (1, 3, 50, 70), dtype=torch.uint8)
    got = model.eval().describe(rgb, (7, 9))
    assert got.shape == (1, 32, 7, 9)
    # 64 × 96 needs no padding: there the features are those of the normalised image, resized.
    rgb = torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8)
    plain = model((rgb - 127.5) / 63.75, mode='tensor')
    want = torch.nn.functional.interpolate(plain, size=(8, 12), mode='bilinear', align_corners=False)
    torch.testing.assert_close(model.describe(rgb, (8, 12)), want, atol=1e-4, rtol=1e-4)


def test_dsrg_targets_are_the_ops_results(repo_root, scenes):
    model = build(repo_root, 'dsrg_r18_partshapes').eval()
    images, masks = scenes
    torch.manual_seed(1)
    logits = torch.randn(6, 16, 16) * 2
    grown, marginals = model.targets(logits, images[1], samples(masks)[1])
    probability = logits.softmax(0).numpy()
    seeds = masks[1, ::4, ::4].numpy()
    cues = seeds[None] == np.arange(6)[:, None, None]
    present = np.array([True, False, False, True, False, False])
    np.testing.assert_array_equal(grown, grow_regions(cues, probability, present, 0.7, 0.85))
    assert grown[[1, 2, 4, 5]].sum() == 0
    own = probability[[0, 3]] / probability[[0, 3]].sum(0)
    pixels = images[1] * model.data_preprocessor.std + model.data_preprocessor.mean
    small = pixels.reshape(3, 16, 4, 16, 4).mean((2, 4)).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    want = dense_crf(unary_from_probability(own), small, model.kernels, model.crf_iterations)
    np.testing.assert_allclose(marginals[[0, 3]], want, atol=1e-5)
    assert marginals[[1, 2, 4, 5]].sum() == 0


def test_dsrg_grows_while_it_learns(repo_root, scenes):
    """From seeds on a quarter of the square to nearly all of it."""
    model = build(repo_root, 'dsrg_r18_partshapes').train()
    images, masks = scenes
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    shares = []
    for _ in range(30):
        losses = model(images, samples(masks), mode='loss')
        total, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        shares.append(float(losses['grown_share']))
    assert {'loss_seed', 'loss_boundary'} <= set(losses)
    assert max(shares) > shares[0] + 0.15
    logits = model.encode_decode(images, [{'img_shape': (64, 64)}] * 2).argmax(1)
    inside = logits[0, 20:44, 20:44]
    assert (inside == 1).float().mean() > 0.9
    assert (logits[0, :8] == 0).float().mean() > 0.9


def test_dsrg_on_a_crop_without_objects(repo_root, scenes):
    model = build(repo_root, 'dsrg_r18_partshapes')
    images, masks = scenes
    nothing = torch.full_like(masks, 255)
    grown, marginals = model.targets(torch.randn(6, 16, 16), images[0], samples(nothing)[0])
    assert not grown.any()
    np.testing.assert_array_equal(marginals[0], 1)
