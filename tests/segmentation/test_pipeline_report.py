# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The page says what the manifest and the files say."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmentropy.datasets.label_png import read_label_png
from mmentropy.ops.seeding.confusion import class_iou, confusion_matrix
from mmentropy.segmentation import Context, SeedPipeline
from mmentropy.segmentation.pipeline_report import encode, painted, pipeline_report


@pytest.fixture
def run(voc, foreign, tmp_path):
    stages = [
        dict(type='ForeignMaps', name='maps', folder=str(tmp_path / 'maps_of_others')),
        dict(type='Seed', name='seed', threshold=0.6),
        dict(type='PseudoMasks', name='masks'),
    ]
    (tmp_path / 'maps_of_others').mkdir()
    for path in sorted(foreign.glob('2007*.npy'))[:-1]:  # one image fails
        (tmp_path / 'maps_of_others' / path.name).write_bytes(path.read_bytes())
    manifest = SeedPipeline(stages, Context(tmp_path / 'run', voc, quiet=True, device='cpu')).run()
    return tmp_path / 'run', manifest


def content(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


def test_figures_are_those_of_the_run(run, voc):
    folder, manifest = run
    page = content(pipeline_report(folder))
    assert page['title'] == 'run'
    assert page['classes'] == ['background', *voc.classes]
    assert len(page['colors']) == len(page['classes'])
    assert page['colors'][:2] == [[0, 0, 0], [128, 0, 0]]
    for row, entry in zip(page['stages'], manifest['stages'], strict=True):
        assert (row['name'], row['mIoU'], row['seconds']) == (entry['stage'], entry['result']['mIoU'], entry['seconds'])
        assert row['IoU'] == entry['result']['IoU']
    assert page['stages'][0]['failed'] == 1
    images = {image['name']: image for image in page['images']}
    assert sorted(images) == sorted(voc.ids())
    failed = [name for name, image in images.items() if image['failures']]
    assert len(failed) == 1
    assert 'no such file' in images[failed[0]]['failures']['maps']
    for name, image in images.items():
        if name in failed:
            assert set(image['pictures']) == {'truth'}
            continue
        assert set(image['pictures']) == {'maps', 'seed', 'masks', 'truth'}
        predicted = read_label_png(folder / f'masks/{name}.png', 6)
        want = 100 * np.nanmean(class_iou(confusion_matrix(predicted, voc.mask(name), 6)))
        assert image['IoU']['masks'] == pytest.approx(want, abs=0.01)


def test_a_branch_and_fewer_images(run, voc):
    folder, _ = run
    stages = [dict(one) for one in settings_of(folder)]
    stages[1]['threshold'] = 0.5
    branch = folder.with_name('run@low')
    SeedPipeline(stages, Context(branch, voc, quiet=True, device='cpu')).run()
    page = content(pipeline_report(branch, 'a </script> b', max_images=3))
    assert page['title'] == 'a </script> b'
    assert len(page['images']) in (3, 4)  # every fourth of ten, and the one that failed
    assert all('maps' in image['pictures'] for image in page['images'] if not image['failures'])


def test_an_image_that_cannot_be_read_says_so_once(run, voc, tmp_path):
    folder, _ = run
    shutil.copytree(voc.root, tmp_path / 'VOC2012')
    spoilt = replace(voc, root=str(tmp_path / 'VOC2012'))
    key = voc.ids()[0]
    spoilt.image_path(key).write_bytes(b'nothing')
    SeedPipeline(settings_of(folder), Context(folder, spoilt, quiet=True, device='cpu')).run()
    entry = next(one for one in content(pipeline_report(folder))['images'] if one['name'] == key)
    assert list(entry['failures']) == ['maps']


def settings_of(folder: Path) -> list[dict]:
    return [entry['settings'] for entry in json.loads((folder / 'manifest.json').read_text())['stages']]


def test_pictures():
    picture = np.zeros((40, 400, 3), np.uint8)
    picture[..., 0] = 200
    with Image.open(io.BytesIO(base64.b64decode(encode(picture)))) as image:
        assert image.size == (144, 14)
        assert np.abs(np.array(image).reshape(-1, 3).mean(0) - [200, 0, 0]).max() < 4
    mask = np.array([[0, 1, 255]], np.uint8)
    assert painted(np.zeros((1, 3, 3), np.uint8), mask)[0].tolist() == [[0, 0, 0], [77, 0, 0], [153, 153, 153]]


@pytest.mark.parametrize(
    'text', ['{}', '{"data": [], "stages": []}', '{"data": {}, "stages": [3]}', '[', '{"data": 3, "stages": {}}']
)
def test_what_is_no_manifest(tmp_path, text):
    (tmp_path / 'manifest.json').write_text(text)
    with pytest.raises(ValueError, match=r'manifest\.json'):
        pipeline_report(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'is .* the folder of a pipeline'):
        pipeline_report(tmp_path / 'nowhere')
