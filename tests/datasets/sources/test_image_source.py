# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Building a source from a config's ``data``, names of images, and lists of classes."""

from __future__ import annotations

import pytest

from mmentropy.datasets.sources import CocoInstances, VOCFolder, build_source
from mmentropy.datasets.sources.image_source import key_of, read_classes


def test_the_layout_is_voc_s_unless_said():
    assert build_source(dict(root='a', split='trainaug')) == VOCFolder('a', 'trainaug')
    coco = build_source(dict(type='CocoInstances', root='a', limit=3))
    assert coco == CocoInstances('a', limit=3)
    assert build_source(coco.settings(split='val')) == coco.on('val') == CocoInstances('a', 'val', limit=3)
    assert coco.on('val') is coco.on('val')
    assert coco.on('train') is coco


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(type='Cocoa', root='a'), "no source 'Cocoa'; there are CocoInstances, LabelledImages, MaskFolders, VOC"),
        (
            dict(type='CocoInstances', root='a', year=1),
            "CocoInstances has no option 'year'; it has root, split, images",
        ),
        (dict(type='LabelledImages'), 'LabelledImages needs root, the folder of the set'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build_source(settings)


def test_keys():
    assert key_of('a.b.jpg') == 'a.b'
    assert key_of('x/y/a.jpg') == 'x__y__a'
    for path in ('../a.jpg', '/a.jpg', 'x/../../a.jpg', '', 'x\\a.jpg'):
        with pytest.raises(ValueError, match='is no path below the folder of the images'):
            key_of(path)


def test_classes(tmp_path):
    rows = ['Idx\tRatio\tTrain\tVal\tStuff\tName', '1\t0.2\t3\t4\t1\twall, side', '2\t0.1\t3\t4\t0\tscreen, crt']
    (tmp_path / 'objects.txt').write_text('\n'.join([*rows, '3\t0.1\t3\t4\t0\tscreen\n']))
    assert read_classes('objects.txt', str(tmp_path)) == ('wall', 'screen, crt', 'screen')
    assert read_classes(['b', 'a'], '') == ('b', 'a')
    (tmp_path / 'names.txt').write_text('cat\n\n dog \ncat\n')
    with pytest.raises(ValueError, match=r"names\.txt: the class 'cat' stands twice, as number 1 and 3"):
        read_classes('names.txt', str(tmp_path))
    (tmp_path / 'names.txt').write_text('\n')
    with pytest.raises(ValueError, match=r'names\.txt: no class in it'):
        read_classes('names.txt', str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r'other\.txt does not exist; it names the classes'):
        read_classes('other.txt', str(tmp_path))
