# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
# ruff: noqa: E501  (a table reads best with one case a row)
"""Every kind of damage is told in one sentence with file and line; training can pass over bad images."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dataset_worlds as worlds
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmentropy import datasets as readers
from mmentropy.datasets.transforms.sample_loading import is_cut_off

LOAD = dict(type='LoadImageFromFile')
MASKS = dict(type='mmentropy.LoadLocalizationMasks')
TINY, VAL = 'train/n01641577/n01641577_boxes.txt', 'val/val_annotations.txt'
XML = 'Annotations/2007_000032.xml'
META = 'metadata/val'


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        text = (root / file).read_text()
        assert old in text  # the test's own premise
        (root / file).write_text(text.replace(old, new, 1))

    return damage


def remove(file: str) -> Callable[[Path], None]:
    return lambda root: (root / file).unlink()


def empty(file: str) -> Callable[[Path], None]:
    return lambda root: (root / file).write_bytes(b'')


def cut(file: str, share: float = 0.3) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        data = (root / file).read_bytes()
        (root / file).write_bytes(data[: int(len(data) * share)])

    return damage


def directory(file: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (root / file).unlink()
        (root / file).mkdir()

    return damage


def raw(file: str, data: bytes) -> Callable[[Path], None]:
    return lambda root: (root / file).write_bytes(data)


@dataclass
class Case:
    """World, reader, split, damage, and what the sentence must say (a pattern); ``sample``: the error comes on access."""

    name: str
    world: Callable[[Path], Path]
    reader: str
    split: str
    damage: Callable[[Path], None]
    says: str
    sample: bool = False
    kind: type[Exception] = ValueError
    options: dict | None = None


def tiny(name: str, damage: Callable, says: str, split: str = 'train', **more) -> Case:
    return Case(name, worlds.tiny_imagenet, 'TinyImageNetLocalization', split, damage, says, **more)


def cub(name: str, damage: Callable, says: str, split: str = 'train', **more) -> Case:
    return Case(name, worlds.cub, 'CUBLocalization', split, damage, says, **more)


def voc(name: str, damage: Callable, says: str, **more) -> Case:
    return Case(name, worlds.voc, 'VOC2012MultiLabel', 'train', damage, says, **more)


JPEG = 'train/n01641577/images/n01641577_0.JPEG'
MASK = 'SegmentationClass/2007_000032.png'
CASES = [
    # images
    tiny('truncated JPEG', cut(JPEG, 0.9), r'boxes\.txt:1: the image .*_0\.JPEG is cut off', sample=True),
    tiny('JPEG without its scan', cut(JPEG, 0.05), r'boxes\.txt:1: the image .*_0\.JPEG cannot be decoded', sample=True),
    tiny('empty image', empty(JPEG), r'boxes\.txt:1: the image .*_0\.JPEG cannot be decoded', sample=True),
    tiny('text as an image', raw(JPEG, b'<html>404</html>'), r'boxes\.txt:1: the image .* cannot be decoded', sample=True),
    tiny('missing image', remove(JPEG), r'boxes\.txt:1: .*_0\.JPEG does not exist', sample=True, kind=FileNotFoundError),
    tiny('directory as an image', directory(JPEG), r'boxes\.txt:1: .*is a directory', sample=True, kind=FileNotFoundError),
    # index files
    tiny('absent split file', remove(VAL), r'val_annotations\.txt does not exist; docs', 'val', kind=FileNotFoundError),
    tiny('absent class file', remove('wnids.txt'), r'wnids\.txt does not exist; docs', kind=FileNotFoundError),
    tiny('directory as a split file', directory(VAL), r'is a directory, a file is expected', 'val', kind=FileNotFoundError),
    tiny('empty index', empty(VAL), r'val_annotations\.txt holds no row', 'val'),
    tiny('a column too few', replace(VAL, '\t44\t62', '\t44'), r'val_annotations\.txt:1: expected file, wnid, x0', 'val'),
    tiny('a column too many', replace(TINY, '\t63\t63', '\t63\t63\t1'), r'_boxes\.txt:1: expected file, x0'),
    tiny('spaces for tabs', replace(TINY, '\t5\t6\t5\t60', ' 5 6 5 60'), r'_boxes\.txt:2: expected file, x0'),
    tiny('an empty field', replace(TINY, '\t10\t', '\t\t'), r'_boxes\.txt:1: expected file, x0'),
    tiny('unknown class', replace(VAL, 'n01698640', 'n99999999'), r"val_annotations\.txt:3: the class 'n99999999'", 'val'),
    tiny('duplicate image', replace(VAL, 'val_1.JPEG', 'val_0.JPEG'), r'val_annotations\.txt:2: .*stands twice', 'val'),
    tiny('not UTF-8', raw(VAL, b'val_0.JPEG\tn01641577\t0\t0\t1\t1\nval_\xe9.JPEG\tx\n'), r'\.txt:2: byte 0xe9 is not UTF-8', 'val'),
    tiny('UTF-16', raw(VAL, 'val_0'.encode('utf-16')), r'val_annotations\.txt:1: byte 0xff is not UTF-8', 'val'),
    # boxes
    tiny('NaN box', replace(TINY, '\t10\t63\t63', '\tnan\t63\t63'), r'_boxes\.txt:1: a box needs four finite numbers'),
    tiny('infinite box', replace(TINY, '\t10\t63\t63', '\t10\tinf\t63'), r'_boxes\.txt:1: a box needs four finite numbers'),
    tiny('words in a box', replace(TINY, '\t10\t63\t63', '\tten\t63\t63'), r'_boxes\.txt:1: a box needs four numbers'),
    tiny('x1 < x0', replace(TINY, '5\t6\t5\t60', '5\t6\t4\t60'), r'_boxes\.txt:2: a box needs x0 <= x1'),
    tiny('box outside', replace(TINY, '\t10\t63\t63', '\t10\t90\t63'), r'_boxes\.txt:1: the box .* outside .*64×64', sample=True),
    cub('negative size', replace('bounding_boxes.txt', '3.0 4.0', '-3.0 4.0'), r'bounding_boxes\.txt:2: a box needs x0 <= x1'),
    cub('box outside its photograph', replace('bounding_boxes.txt', '40.0 30.0', '400.0 30.0'), r'images\.txt:3: .*outside', sample=True, options=dict(row=1)),
    # tables that must agree
    cub('id without a label', replace('image_class_labels.txt', '13 2\n', ''), r'image_class_labels\.txt has no row for the image id 13'),
    cub('label of an unknown id', replace('images.txt', '14 002', '15 002'), r'images\.txt has no row for the image id 14'),
    cub('duplicate id', replace('images.txt', '12 001', '11 001'), r'images\.txt:2: id 11 stands already in line 1'),
    cub('label 0', replace('image_class_labels.txt', '12 1', '12 0'), r'image_class_labels\.txt:2: the label must be in 1'),
    cub('label beyond the classes', replace('image_class_labels.txt', '12 1', '12 3'), r'images\.txt:2: label 2 is not in 0 to 1'),
    cub('split flag', replace('train_test_split.txt', '12 1', '12 2'), r'train_test_split\.txt:2: the split must be in 0 to 1'),
    cub('label is no number', replace('image_class_labels.txt', '12 1', '12 x'), r"labels\.txt:2: the label must be an integer, found 'x'"),
    cub('metadata box outside', replace(f'{META}/localization.txt', '45,29', '450,29'), r'localization\.txt:1: .*outside', 'val'),
    cub('metadata without its label', replace(f'{META}/class_labels.txt', '307', '308'), r'class_labels\.txt has no row for', 'val'),
    cub('missing mask', remove('segmentations/001.Black_footed_Albatross/A_0002_55.png'), r'images\.txt:2: .*A_0002_55\.png does not exist', sample=True, kind=FileNotFoundError, options=dict(with_masks=True)),
    # annotations in XML
    voc('broken XML', cut(XML), r'2007_000032\.xml:\d+: the annotation is no well-formed XML'),
    voc('missing XML', remove(XML), r'2007_000032\.xml does not exist; docs', kind=FileNotFoundError),
    voc('unknown name', replace(XML, '<name>cat', '<name>unicorn'), r"2007_000032\.xml: 'unicorn' is not a class"),
    voc('object without a box', replace(XML, 'bndbox>', 'nobox>'), r'2007_000032\.xml'),
    voc('box without a side', replace(XML, '<ymin>6</ymin>', ''), r'2007_000032\.xml, object 1: a box needs four numbers'),
    voc('XML box outside', replace(XML, '<xmax>20<', '<xmax>200<'), r'2007_000032\.xml: the box .* outside its image, which is 40×30'),
    voc('mask of another size', lambda root: worlds.palette_mask(root / MASK, np.zeros((10, 20))), r'train\.txt:1: .*mask of 20×10, but its image is 40×30', sample=True),
    voc('mask in colours', lambda root: Image.new('RGB', (40, 30)).save(root / MASK), r'train\.txt:1: .*a palette mask needs one channel', sample=True),
    voc('truncated mask', cut(MASK), r'train\.txt:1: .*cannot be decoded as a mask', sample=True),
    # other formats
    Case('Matlab file cut', worlds.flowers, 'OxfordFlowers102', 'train', cut('setid.mat'), r'setid\.mat cannot be read as a Matlab file'),
    Case('Matlab variable', worlds.flowers, 'OxfordFlowers102', 'train', lambda r: savemat(r / 'setid.mat', {'a': [1]}), r"setid\.mat has no variable 'trnid'"),
    Case('flower out of range', worlds.flowers, 'OxfordFlowers102', 'train', lambda r: savemat(r / 'setid.mat', {'trnid': [[9]]}), r'image 9 is not in 1 to 6'),
    Case('flower label 0', worlds.flowers, 'OxfordFlowers102', 'train', lambda r: savemat(r / 'imagelabels.mat', {'labels': [[0] * 6]}), r'label 0 is not in 1 to 102'),
    Case('grade', worlds.glas, 'GlaS', 'train', replace('Grade.csv', 'benign', 'bening'), r"Grade\.csv:2: the grade must be .*'bening'"),
    Case('part of GlaS', worlds.glas, 'GlaS', 'test', replace('Grade.csv', 'testA_1,', 'testC_1,'), r"Grade\.csv:2: a name begins .*'testC_1'"),
    Case('patch label', worlds.camelyon, 'Camelyon16Patches', 'train', replace('splits/train.csv', ',tumor,', ',tumour,'), r"train\.csv:2: the label .*'tumour'"),
    Case('normal with a mask', worlds.camelyon, 'Camelyon16Patches', 'train', replace('splits/train.csv', 'normal,\n', 'normal,m.png\n'), r'train\.csv:1: a normal patch has no mask'),
    Case('classes of two in one XML', worlds.ilsvrc, 'ImageNetLocalization', 'test', replace('ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml', '<name>n01440764', '<name>n02105855'), r'00000002\.xml: objects of exactly one class'),
    Case('unlisted wnid', worlds.ilsvrc, 'ImageNetLocalization', 'train', replace('LOC_synset_mapping.txt', 'n02105855', 'n02105856'), r"train_cls\.txt:3: the class 'n02105855'"),
    Case('ignore file in a later row', worlds.openimages, 'OpenImages30k', 'test', replace('metadata/test/localization.txt', 'm01226z_2.png,', 'm01226z_2.png,x.png'), r'localization\.txt:2: the ignore file belongs in the first row'),
]  # fmt: skip


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_one_sentence(case: Case, tmp_path: Path) -> None:
    root = case.world(tmp_path)
    reader = getattr(readers, case.reader)
    options = dict(case.options or {})
    row = options.pop('row', 0)

    def use() -> None:
        data = reader(root, case.split, pipeline=[LOAD, MASKS], index_cache=False, **options)
        if case.sample:
            data[row]

    use()  # the whole set is read without a complaint
    case.damage(root)
    if case.sample:  # and its index still is
        data = reader(root, case.split, index_cache=False, **options)
        assert len(data) > row
    with pytest.raises(case.kind, match=case.says) as caught:
        use()
    message = str(caught.value)
    assert '\n' not in message
    assert str(tmp_path) in message


@pytest.mark.parametrize('extension', ['JPEG', 'PNG', 'progressive'])
def test_a_cut_at_any_place_is_told_and_whole_files_pass(extension: str) -> None:
    buffer = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    image = Image.fromarray(values)
    image.save(buffer, 'JPEG', progressive=True) if extension == 'progressive' else image.save(buffer, extension)
    data = buffer.getvalue()
    assert not is_cut_off(data)
    assert not is_cut_off(data + b'bytes after the end')
    start = data.index(b'\xff\xda') + 2 if extension != 'PNG' else 40
    for end in range(start, len(data) - 8, 97):
        assert is_cut_off(data[:end])


def test_there_are_enough_kinds() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 25
