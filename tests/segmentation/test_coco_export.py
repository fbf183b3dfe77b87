# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The exported segments, decoded, are the masks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmentropy.datasets.label_png import read_label_png
from mmentropy.ops.run_lengths import decode_runs, expand_runs
from mmentropy.segmentation import Context, SeedPipeline
from mmentropy.segmentation.coco_export import coco_segments


def test_segments_are_the_masks(voc, chain, tmp_path):
    stages = [*chain[:2], chain[3], dict(type='ExportCoco')]
    pipeline = SeedPipeline(stages, Context(tmp_path, voc, quiet=True, device='cpu'))
    result = pipeline.run()['stages'][-1]['result']
    segments = json.loads((tmp_path / 'coco/segments.json').read_text())
    assert result == {'images': 10, 'segments': len(segments)}
    for key in voc.ids():
        mask = np.zeros((64, 64), np.uint8)
        for one in segments:
            if one['image_id'] == key:
                assert one['segmentation']['size'] == [64, 64]
                mask[decode_runs(expand_runs(one['segmentation']['counts']), (64, 64))] = one['category_id']
        np.testing.assert_array_equal(mask, read_label_png(tmp_path / f'masks/{key}.png', 6))
    # Another mask, and the file is written again; none, and that is said.
    stamp = (tmp_path / 'coco/segments.json').read_bytes()
    (tmp_path / f'foreign-{key}').touch()
    assert all(row['finished'] for row in pipeline.plan())
    pipeline.settings['masks']['confidence'] = 0.99
    stages[2]['confidence'] = 0.99
    other = SeedPipeline(stages, Context(tmp_path, voc, quiet=True, device='cpu'))
    other.run(redo=['masks'])
    assert (tmp_path / 'coco/segments.json').read_bytes() != stamp


def test_what_is_left_out_and_what_is_missing(voc, chain, tmp_path):
    assert coco_segments(np.array([[0, 255]]), 'a') == []
    assert [one['image_id'] for one in coco_segments(np.array([[1, 3]]), 'a')] == ['a', 'a']
    stages = [*chain[:2], dict(type='ExportCoco')]
    with pytest.raises(ValueError, match='coco: seed has no masks; its source is PseudoMasks or Test'):
        SeedPipeline(stages, Context(tmp_path, voc, quiet=True, device='cpu')).run()
