# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The pipeline on COCO's layout, folders of masks and a table of labels: the files and figures of VOC's layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from own_layouts import WIDE, as_coco, as_folders, as_table, as_wide_table
from PIL import Image
from rough_maps import rough_maps

from mmentropy.datasets.label_png import read_label_png
from mmentropy.segmentation import Context, SeedPipeline
from mmentropy.segmentation.pipeline_report import gallery, open_run, pipeline_report

ROOT = Path(__file__).resolve().parents[2]


def build(stages, data, folder, **options) -> SeedPipeline:
    return SeedPipeline(stages, Context(Path(folder), data, quiet=True, device='cpu', **options))


def results(manifest) -> dict[str, dict]:
    return {entry['stage']: entry['result'] for entry in manifest['stages']}


@pytest.fixture(scope='module')
def on_voc(voc, foreign, tmp_path_factory):
    """The run that the others are held against."""
    folder = tmp_path_factory.mktemp('voc')
    return folder, results(build(stages_on(foreign), voc, folder).run())


def stages_on(foreign: Path) -> list[dict]:
    return [
        dict(type='ForeignMaps', name='maps', folder=str(foreign), threshold=0.6),
        dict(type='Seed', name='seed', threshold=0.6),
        dict(type='CrfRefine', name='crf', gaussian=[2, 3], bilateral=[20, 10, 6], iterations=5),
        dict(type='PseudoMasks', name='masks', confidence=0.4),
    ]


@pytest.mark.parametrize('write', [as_coco, as_folders, as_table])
def test_the_same_scenes_in_another_layout(voc, foreign, on_voc, write, tmp_path):
    data = write(voc, tmp_path / 'data')
    found = results(build(stages_on(foreign), data, tmp_path / 'run').run())
    for key in voc.ids():
        for name in (f'seed/{key}.npz', f'crf/{key}.npz', f'masks/{key}.png'):
            assert (tmp_path / 'run' / name).read_bytes() == (on_voc[0] / name).read_bytes(), name
    if write is as_coco:  # it knows no border that is left out
        hit = union = np.zeros(6)
        for key in data.ids():
            truth, got = data.mask(key), read_label_png(tmp_path / f'run/masks/{key}.png', 6)
            got = np.where(got == 255, 0, got)
            pairs = np.arange(6)[:, None], (truth.ravel()[None], got.ravel()[None])
            same = [(pairs[1][k] == pairs[0]) for k in range(2)]
            hit, union = hit + (same[0] & same[1]).sum(1), union + (same[0] | same[1]).sum(1)
        assert found['masks']['mIoU'] == pytest.approx(100 * np.mean(hit / union), abs=0.01)
    else:
        assert [found[name]['IoU'] for name in found] == [on_voc[1][name]['IoU'] for name in found]
    again = build(stages_on(foreign), data, tmp_path / 'run')
    assert all(row['finished'] for row in again.plan())


@pytest.fixture
def wide(voc, tmp_path):
    """Maps of the scenes' classes under their names among three hundred."""
    folder = tmp_path / 'foreign'
    folder.mkdir()
    for key in voc.ids():
        np.save(folder / f'{key}.npy', {WIDE[label]: one for label, one in rough_maps(voc, key).items()})
    return as_wide_table(voc, tmp_path / 'data'), stages_on(folder)


def test_three_hundred_classes(voc, wide, on_voc, tmp_path):
    data, stages = wide
    stages.append(dict(type='ExportCoco', name='coco'))
    found = results(build(stages, data, tmp_path / 'run').run())
    lookup = np.zeros(256, int)
    lookup[[0, 1, 2, 3, 4, 5, 255]] = [0, *(label + 1 for label in WIDE), 65535]
    for key in voc.ids():
        with Image.open(tmp_path / f'run/masks/{key}.png') as image:
            assert image.mode == 'I;16'
            got = np.array(image)
        np.testing.assert_array_equal(got, lookup[read_label_png(on_voc[0] / f'masks/{key}.png', 6)])
    for name in ('maps', 'seed', 'crf', 'masks'):
        assert found[name]['mIoU'] == on_voc[1][name]['mIoU']
        assert len(found[name]['IoU']) == 301
    segments = json.loads((tmp_path / 'run/coco/segments.json').read_text())
    assert {one['category_id'] for one in segments} <= {label + 1 for label in WIDE}
    assert max(one['category_id'] for one in segments) == 300
    page = pipeline_report(tmp_path / 'run', max_images=1)  # it reads the set again, from the manifest
    assert 'kind 299' in page
    (entry,) = gallery(open_run(tmp_path / 'run'), 1)
    assert set(entry['pictures']) == {'maps', 'seed', 'crf', 'masks', 'truth'}
    assert not entry['failures']


def test_without_masks_nothing_is_measured_and_that_is_told(voc, foreign, tmp_path, caplog):
    data = as_table(voc, tmp_path / 'data')
    bare = type(data)(data.root, class_names='names.txt')
    with caplog.at_level('INFO'):
        found = results(build(stages_on(foreign), bare, tmp_path / 'run').run())
    assert 'the data has no true masks: nothing is measured' in caplog.text
    assert {name: result['mIoU'] for name, result in found.items()} == dict.fromkeys(found)
    assert found['masks']['images'] == len(voc.ids())


def test_a_changed_label_is_noticed(voc, foreign, tmp_path, caplog):
    """One row of the table, one annotation of the file: that image alone is made again."""
    table = as_table(voc, tmp_path / 'table')
    build(stages_on(foreign), table, tmp_path / 'run').run()
    path = tmp_path / 'table/labels.csv'
    rows = path.read_text().splitlines()
    line, row = next((i, row) for i, row in enumerate(rows) if row.endswith('train') and ';' in row)
    image, labels, split = row.split(',')
    path.write_text('\n'.join([*rows[:line], f'{image},{labels.split(";")[0]},{split}', *rows[line + 1 :]]) + '\n')
    key = Path(image).stem
    assert all(row['finished'] for row in build(stages_on(foreign), voc_like(table), tmp_path / 'run').plan()) is False
    found = results(build(stages_on(foreign), voc_like(table), tmp_path / 'run').run())
    assert {name: result['made'] for name, result in found.items()} == dict.fromkeys(found, 1)
    assert f'maps: 1 image changed since ({key})' in caplog.text


def voc_like(table):
    """The same settings, read anew, as another start reads them."""
    return type(table)(**{name: value for name, value in table.settings().items() if name != 'type'})


def test_another_truth_is_measured_and_nothing_is_made(voc, foreign, tmp_path, caplog):
    data = as_coco(voc, tmp_path / 'coco')
    before = results(build(stages_on(foreign), data, tmp_path / 'run').run())
    path = tmp_path / 'coco/annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    for one in content['annotations'][::2]:
        one['segmentation'] = [[0, 0, 5, 0, 5, 5, 0, 5]]
    path.write_text(json.dumps(content))
    with caplog.at_level('INFO'):
        after = results(build(stages_on(foreign), data, tmp_path / 'run').run())
    assert 'masks: the true masks have changed; measured again' in caplog.text
    assert after['masks']['mIoU'] != before['masks']['mIoU']
    assert after['masks']['made'] == before['masks']['made']


def test_a_bad_image_costs_one_sentence(voc, foreign, tmp_path):
    data = as_table(voc, tmp_path / 'data')
    keys = data.ids()
    (tmp_path / f'data/{keys[0]}.jpg').unlink()
    path = tmp_path / 'data/labels.csv'
    path.write_text(
        '\n'.join(f'{keys[1]}.jpg,,train' if keys[1] in row else row for row in path.read_text().split('\n'))
    )
    found = build(stages_on(foreign), voc_like(data), tmp_path / 'run').run()['stages'][0]
    assert found['failed'] == 2
    told = (tmp_path / 'run/maps/failures.txt').read_text().splitlines()
    assert told[0].endswith(f'{keys[0]}.jpg: no such image file')
    assert told[1].endswith(f"labels.csv:3: '{keys[1]}.jpg' has no label")


def test_options_of_the_data(voc, tmp_path):
    """``--cfg-options data.…`` and ``--data-root`` know what the layout takes."""
    config = tiny_config(tmp_path, as_table(voc, tmp_path / 'data').settings())
    pipeline = SeedPipeline.from_config(config, tmp_path / 'run', {'data.limit': 2, 'data.root': 'other'}, device='cpu')
    assert (pipeline.ctx.data.limit, pipeline.ctx.data.root) == (2, 'other')
    with pytest.raises(ValueError, match=r'there is no setting data\.truth; data has .*labels_file'):
        SeedPipeline.from_config(config, tmp_path / 'run', {'data.truth': 'x'}, device='cpu')


TRAINING = {'train_dataloader.num_workers': 0, 'train_dataloader.persistent_workers': False}
NARROW = {'model.backbone.base_channels': 8, 'model.backbone.stem_channels': 8}


def tiny_config(folder: Path, data: dict, **more) -> Path:
    """From labels to a tested segmenter, each stage as short as it can be."""
    configs = ROOT / 'configs/voc'
    classify = {'train_cfg.max_epochs': 2, 'train_dataloader.batch_size': 5, **NARROW, **TRAINING}
    segment = {'train_cfg.max_iters': 2, 'train_dataloader.batch_size': 2, 'default_hooks.checkpoint.interval': 1}
    segment |= {**TRAINING, 'model.decode_head.in_channels': [8, 64], **NARROW}
    stages = dict(
        classify=dict(type='Classify', config=f'{configs}/resnet18_partshapes_cls.py', options=classify),
        maps=dict(type='ClassMaps', scales=[1.0], stride=4),
        seed=dict(type='Seed', background='power', alpha=4.0),
        crf=dict(type='CrfRefine', gaussian=[2, 3], bilateral=[20, 10, 6], iterations=2),
        masks=dict(type='PseudoMasks', confidence=0.3),
        segment=dict(type='Segment', config=f'{configs}/fcn_r18_partshapes.py', options=segment),
        test=dict(type='Test', split='val'),
        coco=dict(type='ExportCoco', split='val'),
    )
    path = folder / 'tiny.py'
    path.write_text(f'data = {data!r}\nstages = {stages!r}\n')
    return path


@pytest.mark.slow
@pytest.mark.parametrize(('write', 'classes', 'mode'), [(as_coco, 5, 'P'), (as_wide_table, 300, 'I;16')])
def test_from_labels_to_a_tested_segmenter(voc, write, classes, mode, tmp_path):
    """The configs of five classes are fitted to the data, and what came out is of its classes."""
    data = write(voc, tmp_path / 'data')
    config = tiny_config(tmp_path, data.settings())
    run = SeedPipeline.from_config(config, tmp_path / 'run', quiet=True, device='cpu').run()
    found = results(run)
    assert list(found) == ['classify', 'maps', 'seed', 'crf', 'masks', 'segment', 'test', 'coco']
    assert all(found[name]['mIoU'] is not None for name in ('maps', 'seed', 'crf', 'masks', 'test'))
    weights = [torch.load(tmp_path / f'run/{name}/model.pth')['state_dict'] for name in ('classify', 'segment')]
    assert weights[0]['head.fc.weight'].shape[0] == classes
    assert weights[1]['decode_head.conv_seg.weight'].shape[0] == classes + 1
    for key in data.ids('val'):
        with Image.open(tmp_path / f'run/test/{key}.png') as image:
            assert image.mode == mode
            assert np.array(image).max() <= classes
    assert not list((tmp_path / 'run/test').glob('*.zip'))  # the archive is VOC's server's
    segments = json.loads((tmp_path / 'run/coco/segments.json').read_text())
    if write is as_coco:
        assert {one['image_id'] for one in segments} <= {100, 101, 102, 103}
        assert {one['category_id'] for one in segments} <= {7, 17, 27, 37, 47}
    again = SeedPipeline.from_config(config, tmp_path / 'run', quiet=True, device='cpu')
    assert all(row['finished'] for row in again.plan())
