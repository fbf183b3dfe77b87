# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Refiners improve seeds, are the ops, and refuse what does not fit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rough_maps import rough_maps

from mmentropy.ops.refining.dense_crf import Bilateral, Gaussian, dense_crf
from mmentropy.ops.seeding.confusion import class_iou, confusion_matrix
from mmentropy.ops.seeding.seeds import scale_to_peak
from mmentropy.segmentation import (
    Context,
    CrfRefine,
    GrowRefine,
    ImageMaps,
    PixelAdaptiveRefine,
    RandomWalkRefine,
)
from mmentropy.segmentation.stage import label_map


@pytest.fixture
def scores(voc):
    key = voc.ids()[1]
    maps = rough_maps(voc, key)
    labels = np.array(sorted(maps))
    stacked = scale_to_peak(np.stack([maps[k] for k in sorted(maps)]))
    return key, ImageMaps(
        labels, np.concatenate([np.full((1, 64, 64), 0.55, np.float32), stacked]), (64, 64), None, True
    )


@pytest.mark.parametrize(
    'stage',
    [
        CrfRefine(source='seed', gaussian=(2, 3), bilateral=(20, 10, 6)),
        PixelAdaptiveRefine(source='seed', dilations=(1, 2), iterations=8),
        RandomWalkRefine(source='seed', stride=2, radius=3, log_steps=3, sigma=25),
        GrowRefine(source='seed', seed_confidence=0.55, fg_threshold=0.4, bg_threshold=0.4),
    ],
    ids=['crf', 'pixel adaptive', 'walk on colour', 'grow'],
)
def test_refiners_improve_noisy_seeds(voc, scores, stage, tmp_path):
    key, noisy = scores
    ctx = Context(tmp_path, voc, quiet=True, device='cpu')
    for name in ('seed', stage.name):
        ctx.folder(name).mkdir()
    noisy.save(ctx.folder('seed') / f'{key}.npz')
    stage.process(ctx, key)
    refined = ImageMaps.load(stage.output(ctx, key))
    truth = voc.mask(key)
    before, after = (np.nanmean(class_iou(confusion_matrix(label_map(s), truth, 6))) * 100 for s in (noisy, refined))
    gain = {'crf': 4, 'pixel_adaptive': 4, 'walk': 4, 'grow': -1}[stage.name]
    assert after > before + gain
    if stage.name == 'grow':  # it lifts what is connected to a sure location, and nothing else
        assert (refined.maps.argmax(0) != noisy.maps.argmax(0)).mean() < 0.1
        assert (refined.maps.max(0) > 0.5 * noisy.probabilities().max(0) + 0.4).mean() > 0.2
    assert refined.labels.tolist() == noisy.labels.tolist()
    assert np.isfinite(refined.maps).all()


def test_a_walk_stops_at_the_edges_of_files(voc, scores, tmp_path):
    """With the objects' true outlines as edges a walk joins what lies on one side, and nothing across."""
    key, noisy = scores
    truth = voc.mask(key)
    outline = cv2.morphologyEx(truth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    cv2.imwrite(str(tmp_path / f'{key}.png'), outline.astype(np.uint8) * 255)
    options = dict(affinity='edges', edges=str(tmp_path), stride=1, radius=2, log_steps=4)
    stage = RandomWalkRefine(source='seed', **options)
    ctx = Context(tmp_path / 'work', voc, quiet=True, device='cpu')
    for name in ('seed', 'walk'):
        ctx.folder(name).mkdir(parents=True)
    noisy.save(ctx.folder('seed') / f'{key}.npz')
    right = np.array([[0, 1]])
    pairs = stage.pairs(ctx, key, voc.image(key), voc.image(key), right)[0]
    np.testing.assert_array_equal(pairs[:, :-1], ~(outline[:, :-1] | outline[:, 1:]))
    halved = stage.pairs(ctx, key, voc.image(key), voc.image(key)[::2, ::2], right)[0]
    blocks = outline.reshape(32, 2, 32, 2).any((1, 3))  # an edge of one pixel is one at half of the size
    np.testing.assert_array_equal(halved[:, :-1], ~(blocks[:, :-1] | blocks[:, 1:]))
    stage.process(ctx, key)
    refined = ImageMaps.load(stage.output(ctx, key))
    before, after = (np.mean((label_map(one) != truth)[~outline]) for one in (noisy, refined))
    assert before > 0.01
    assert after < before / 3
    digest = stage.image_digest(ctx, key)
    cv2.imwrite(str(tmp_path / f'{key}.png'), np.zeros((64, 64), np.uint8))
    assert stage.image_digest(ctx, key) != digest
    cv2.imwrite(str(tmp_path / f'{key}.png'), np.zeros((32, 64), np.uint8))
    with pytest.raises(ValueError, match=r'the edge map has size \(32, 64\), the image \(64, 64\)'):
        stage.process(ctx, key)
    for wrong in (dict(affinity='edges'), dict(edges='folder')):
        with pytest.raises(ValueError, match="affinity='edges' and edges=<folder of the edge maps> go together"):
            RandomWalkRefine(source='seed', **wrong)


def test_crf_on_scores_is_the_op_on_their_probabilities(voc, scores, tmp_path):
    key, noisy = scores
    stage = CrfRefine(source='seed', confidence=None, gaussian=(2, 3), bilateral=(20, 10, 6), iterations=3)
    clipped = np.maximum(noisy.maps, 1e-5)
    unary = -np.log(clipped / clipped.sum(0))
    want = dense_crf(unary, voc.image(key), [Gaussian(2, 3), Bilateral(20, 10, 6)], 3)
    got = stage.refine(Context(tmp_path, voc), key, noisy, voc.image(key))
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_crf_backends_agree(voc, scores, tmp_path):
    pytest.importorskip('pydensecrf.densecrf', reason='pydensecrf2 is not installed')
    key, noisy = scores
    got = []
    for backend in ('numba', 'pydensecrf'):
        stage = CrfRefine(source='seed', confidence=None, backend=backend)
        got.append(stage.refine(Context(tmp_path, voc), key, noisy, voc.image(key)).argmax(0))
    assert (got[0] == got[1]).mean() > 0.999


def test_refiners_refuse_what_does_not_fit(voc, scores, tmp_path):
    key, noisy = scores
    ctx = Context(tmp_path, voc)
    (tmp_path / 'seed').mkdir()
    noisy.size = (63, 64)
    noisy.save(tmp_path / f'seed/{key}.npz')
    with pytest.raises(ValueError, match=r'size \(64, 64\), its maps were made for \(63, 64\)'):
        CrfRefine(source='seed').process(ctx, key)
    noisy.background, noisy.maps = False, noisy.maps[1:]
    noisy.save(tmp_path / f'seed/{key}.npz')
    with pytest.raises(ValueError, match='put a Seed stage between'):
        CrfRefine(source='seed').process(ctx, key)
    (tmp_path / f'seed/{key}.npz').write_bytes(b'PK\x03\x04 half')
    with pytest.raises(ValueError, match=f'{key}.npz: not a map file of ours'):
        CrfRefine(source='seed').process(ctx, key)
