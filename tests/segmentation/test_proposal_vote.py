# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Masks of every format vote; what is damaged is named; a changed file is noticed."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from rough_maps import rough_maps

from mmentropy.ops.refining.proposals import vote
from mmentropy.ops.seeding.confusion import class_iou, confusion_matrix
from mmentropy.ops.seeding.seeds import scale_to_peak
from mmentropy.segmentation import Context, ImageMaps, ProposalVote
from mmentropy.segmentation.proposal_vote import read_proposals
from mmentropy.segmentation.stage import label_map


def runs_of(mask: np.ndarray) -> dict:
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(np.r_[0, flat])).tolist() + [len(flat)]
    return dict(size=list(mask.shape), counts=np.diff([0, *edges]).tolist())


@pytest.fixture
def world(voc, tmp_path):
    """(context, key, noisy scores, the true regions as masks)."""
    key = voc.ids()[1]
    maps = rough_maps(voc, key)
    labels = np.array(sorted(maps))
    stacked = scale_to_peak(np.stack([maps[k] for k in sorted(maps)]))
    noisy = ImageMaps(labels, np.concatenate([np.full((1, 64, 64), 0.55, np.float32), stacked]), (64, 64), None, True)
    ctx = Context(tmp_path / 'work', voc, quiet=True, device='cpu')
    for name in ('seed', 'vote'):
        ctx.folder(name).mkdir(parents=True)
    noisy.save(ctx.folder('seed') / f'{key}.npz')
    (tmp_path / 'masks').mkdir()
    truth = voc.mask(key)
    return ctx, key, noisy, np.stack([truth == value for value in np.unique(truth) if value != 255])


def written(folder, key: str, masks: np.ndarray, kind: str) -> None:
    if kind == 'json':
        told = [dict(segmentation=runs_of(mask), predicted_iou=0.9, area=int(mask.sum())) for mask in masks]
        (folder / f'{key}.json').write_text(json.dumps(told))
    elif kind == 'png':
        values = sum((i + 1) * mask.astype(np.uint8) for i, mask in enumerate(masks))
        cv2.imwrite(str(folder / f'{key}.png'), values)
    else:
        (folder / key).mkdir()
        for i, mask in enumerate(masks):
            cv2.imwrite(str(folder / key / f'{i}.png'), mask.astype(np.uint8) * 255)


@pytest.mark.parametrize('kind', ['json', 'png', 'folder'])
def test_masks_of_every_format(world, tmp_path, kind):
    ctx, key, noisy, masks = world
    written(tmp_path / 'masks', key, masks, kind)
    found, quality = read_proposals(tmp_path / 'masks', key, (64, 64))
    np.testing.assert_array_equal(found, masks)
    np.testing.assert_allclose(quality, 0.9 if kind == 'json' else 1.0)
    stage = ProposalVote(source='seed', masks=str(tmp_path / 'masks'), power=0.5)
    stage.process(ctx, key)
    refined = ImageMaps.load(stage.output(ctx, key))
    stored = ImageMaps.load(ctx.folder('seed') / f'{key}.npz')
    np.testing.assert_allclose(refined.maps, vote(stored.probabilities(), masks, None, 0.5)[0], atol=1e-3)
    truth = ctx.data.mask(key)
    before, after = (np.nanmean(class_iou(confusion_matrix(label_map(s), truth, 6))) for s in (noisy, refined))
    assert after > before + 0.1  # the true regions are the best of proposals


def test_a_changed_file_is_noticed(world, tmp_path):
    ctx, key, _, masks = world
    written(tmp_path / 'masks', key, masks, 'folder')
    stage = ProposalVote(source='seed', masks=str(tmp_path / 'masks'))
    before = stage.image_digest(ctx, key)
    cv2.imwrite(str(tmp_path / 'masks' / key / '0.png'), 255 - masks[0].astype(np.uint8) * 255)
    assert Context(ctx.work_dir, ctx.data, quiet=True, device='cpu').digests is not ctx.digests
    assert stage.image_digest(Context(ctx.work_dir, ctx.data, quiet=True, device='cpu'), key) != before


def test_share_and_quality(world, tmp_path):
    ctx, key, _, masks = world
    written(tmp_path / 'masks', key, masks, 'json')
    stored = ImageMaps.load(ctx.folder('seed') / f'{key}.npz')
    for options in (dict(share=0.0), dict(min_quality=0.95)):
        stage = ProposalVote(source='seed', masks=str(tmp_path / 'masks'), **options)
        stage.process(ctx, key)
        np.testing.assert_allclose(ImageMaps.load(stage.output(ctx, key)).maps, stored.probabilities(), atol=1e-3)
    with pytest.raises(ValueError, match=r'share is that of the vote .* got 2'):
        ProposalVote(share=2)


def test_damaged_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='no masks of a; expected'):
        read_proposals(tmp_path, 'a', (4, 5))
    (tmp_path / 'a.json').write_text('[{"segmentation": {"size": [4, 5], "counts": [3, 4]}}]')
    with pytest.raises(ValueError, match=r'a\.json: mask 0 is no run length of COCO \(ValueError: run lengths of 7'):
        read_proposals(tmp_path, 'a', (4, 5))
    (tmp_path / 'b.json').write_text('[]')
    with pytest.raises(ValueError, match=r'b\.json: no mask in it'):
        read_proposals(tmp_path, 'b', (4, 5))
    written(tmp_path, 'c', np.ones((1, 4, 6), bool), 'png')
    with pytest.raises(ValueError, match=r'c\.png: a mask has size \(4, 6\), the image \(4, 5\)'):
        read_proposals(tmp_path, 'c', (4, 5))
    (tmp_path / 'd.png').write_bytes(b'nothing')
    with pytest.raises(ValueError, match=r'd\.png: it cannot be decoded'):
        read_proposals(tmp_path, 'd', (4, 5))
