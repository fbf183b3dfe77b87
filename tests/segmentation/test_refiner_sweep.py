# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A sweep measures what single runs measure, chooses on one list and reports on another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rough_maps import rough_maps

from mmentropy.segmentation import Context, RefinerSweep, SeedPipeline
from mmentropy.segmentation.refiner_sweep import read_grid, split_values


@pytest.fixture
def base(voc, foreign, tmp_path) -> SeedPipeline:
    for key in voc.ids('val'):
        np.save(foreign / f'{key}.npy', rough_maps(voc, key))
    stages = [
        dict(type='ForeignMaps', name='maps', folder=str(foreign)),
        dict(type='Seed', name='seed', threshold=0.9),
        dict(type='PseudoMasks', name='masks'),
    ]
    return SeedPipeline(stages, Context(tmp_path / 'run', voc, quiet=True, device='cpu'))


def single(base: SeedPipeline, folder: Path, split: str, **seed) -> dict:
    """The same options in a run of their own."""
    from dataclasses import replace

    stages = [dict(settings) for settings in base.settings.values()]
    stages[1].update(seed)
    ctx = Context(folder, replace(base.ctx.data, split=split), quiet=True, device='cpu')
    return {one['stage']: one['result']['mIoU'] for one in SeedPipeline(stages, ctx).run()['stages']}


def test_a_sweep_is_single_runs(base, tmp_path):
    grids = [read_grid(['seed.threshold=0.3,0.6']), read_grid(['seed.background=power', 'seed.alpha=2,8'])]
    result = RefinerSweep(base, grids, select='val').run()
    tried = {json.dumps(one['options']): one['mIoU'] for one in result['tried']}
    assert len(tried) == 5
    for number, (options, seed) in enumerate(
        (
            ({}, {}),
            ({'seed.threshold': 0.6}, dict(threshold=0.6)),
            ({'seed.background': 'power', 'seed.alpha': 8}, dict(background='power', alpha=8)),
        )
    ):
        want = single(base, tmp_path / str(number), 'val', **seed)
        assert tried[json.dumps(options)] == {name: want[name] for name in ('seed', 'masks')}
    best = max(tried.values(), key=lambda figures: figures['masks'])
    assert result['tried'][0]['mIoU'] == best
    chosen = {key.partition('.')[2]: value for key, value in result['chosen'].items()}
    want = single(base, tmp_path / 'chosen', 'train', **chosen)
    assert result['mIoU on the reported split']['chosen'] == {name: want[name] for name in ('seed', 'masks')}
    folder = base.ctx.work_dir / 'sweep'
    assert json.loads((folder / 'sweep.json').read_text()) == result
    assert 'on which nothing was chosen' in (folder / 'sweep.md').read_text()
    with Image.open(folder / 'sweep.png') as image:
        assert image.width > 500
    # What combinations have in common is made once: the maps of two lists, the seeds of five and of two.
    assert len(list(folder.glob('maps-*'))) == 2
    assert len(list(folder.glob('seed-*'))) == 7
    assert not (base.ctx.work_dir / 'seed').exists()
    assert base.ctx.folder('maps') == base.ctx.work_dir / 'maps'


def test_a_second_sweep_makes_nothing_again(base):
    grid = read_grid(['seed.threshold=0.3'])
    RefinerSweep(base, [grid], select='val').run()
    files = {path: path.stat().st_mtime_ns for path in base.ctx.work_dir.rglob('*.npz')}
    RefinerSweep(base, [grid, read_grid(['seed.threshold=0.4'])], select='val').run()
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_by(base):
    assert RefinerSweep(base, [read_grid(['seed.threshold=0.3'])], 'val', by='seed').by == 'seed'
    with pytest.raises(ValueError, match="'maps' cannot decide; the sweep measures seed, masks"):
        RefinerSweep(base, [read_grid(['seed.threshold=0.3'])], 'val', by='maps')


@pytest.mark.parametrize(
    ('grid', 'words'),
    [
        (['seed=3'], 'STAGE.OPTION=VALUE'),
        (['seed.threshold'], 'STAGE.OPTION=VALUE'),
        (['seed.threshold='], 'STAGE.OPTION=VALUE'),
        (['seed.threshold=1', 'seed.threshold=2'], 'names seed.threshold twice'),
        (['sede.threshold=1'], "no stage 'sede'"),
        (['seed.treshold=1'], 'seed has no such option; it has background, threshold'),
        (['seed.source=maps'], 'seed has no such option'),
    ],
)
def test_wrong_grids(base, grid, words):
    with pytest.raises(ValueError, match=words):
        RefinerSweep(base, [read_grid(grid)], 'val')


def test_choosing_needs_another_list_with_masks(base, tmp_path):
    with pytest.raises(ValueError, match="chosen on 'train' cannot be reported on it"):
        RefinerSweep(base, [read_grid(['seed.threshold=1'])], 'train')
    shutil.copytree(base.ctx.data.root, tmp_path / 'bare')
    shutil.rmtree(tmp_path / 'bare/SegmentationClass')
    from mmentropy.segmentation import VOCFolder

    base.ctx.data = VOCFolder(str(tmp_path / 'bare'), num_classes=5)
    with pytest.raises(ValueError, match='val: its images have no true masks'):
        RefinerSweep(base, [read_grid(['seed.threshold=0.3'])], 'val').run()


def test_values():
    assert split_values('(1, 2),3') == [(1, 2), 3]
    assert split_values('a b') == ['a b']
    assert read_grid([]) == [{}]
