# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Small data sets in the real formats, oddities included, written by the tests."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat

from mmentropy.ops.masks import voc_palette


def photo(path: Path, width: int = 40, height: int = 30, seed: int = 0, **how) -> None:
    """A colour image of noise; ``how``: mode 'L' or 'CMYK', or format 'PNG' under whatever name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(values).convert(how.get('mode', 'RGB'))
    default = {'.bmp': 'BMP', '.png': 'PNG'}.get(path.suffix, 'JPEG')
    image.save(path, how.get('format', default))


def text(path: Path, *rows: str, end: str = '\n', encoding: str = 'utf-8') -> Path:
    """Write rows; ``end=''`` leaves the final newline out, as the public metadata do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(('\n'.join(rows) + end).encode(encoding))
    return path


def gray_mask(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def rectangle(height: int, width: int, y0: int, y1: int, x0: int, x1: int, value: int = 1) -> np.ndarray:
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[y0:y1, x0:x1] = value
    return mask


def box_list(info: dict) -> list:
    """The boxes of a sample as plain numbers."""
    return info['gt_bboxes'].tolist()


def cub(root: Path) -> Path:
    """Four images of two birds, one of them greyscale; ids are not the row numbers; CUBV2 with a size file."""
    names = ['001.Black_footed_Albatross/A_0046_18.jpg', '001.Black_footed_Albatross/A_0002_55.jpg']
    names += ['002.Laysan_Albatross/L_0002_1027.jpg', '002.Laysan_Albatross/L_0003_1033.jpg']
    for i, name in enumerate(names):
        photo(root / 'images' / name, seed=i, mode='L' if i == 2 else 'RGB')
        segment = rectangle(30, 40, 5, 15, 10, 30, 255)
        segment[4, 10:30] = 100  # one annotator of several: below one half
        gray_mask(root / 'segmentations' / name.replace('.jpg', '.png'), segment)
    ids = [11, 12, 13, 14]
    text(root / 'images.txt', *(f'{i} {name}' for i, name in zip(ids, names)))
    text(root / 'image_class_labels.txt', '11 1', '12 1', '13 2', '14 2')
    text(root / 'train_test_split.txt', '11 0', '12 1', '13 1', '14 0')
    text(
        root / 'bounding_boxes.txt', '11 6.0 2.0 30.0 20.0', '12 1.0 2.0 3.0 4.0', '13 0.0 0.0 40.0 30.0', '14 5 6 7 8'
    )
    text(root / 'classes.txt', '1 001.Black_footed_Albatross', '2 002.Laysan_Albatross')
    val = root / 'metadata/val'
    image = '002.Laysan_Albatross/307.jpg'
    photo(root / 'CUBV2' / image, 56, 42, seed=9)
    text(val / 'image_ids.txt', image, end='')
    text(val / 'class_labels.txt', f'{image},1', end='')
    text(val / 'image_sizes.txt', f'{image},56,42', end='')
    text(val / 'localization.txt', f'{image},17,13,45,29', end='')
    return root


def tiny_imagenet(root: Path, per_class: int = 3) -> Path:
    """Two classes with ``per_class`` training and two validation images; a box of one pixel's width."""
    wnids = ['n01641577', 'n01698640']
    text(root / 'wnids.txt', *wnids)
    text(root / 'words.txt', 'n01641577\tbullfrog, Rana catesbeiana', 'n01698640\tAmerican alligator')
    rows = []
    for c, wnid in enumerate(wnids):
        names = [f'{wnid}_{i}.JPEG' for i in range(per_class)]
        for i, name in enumerate(names):
            photo(root / 'train' / wnid / 'images' / name, 64, 64, 10 * c + i, mode='L' if i == 1 else 'RGB')
        boxes = ['0\t10\t63\t63', '5\t6\t5\t60', *(['1\t2\t3\t4'] * per_class)]
        text(root / 'train' / wnid / f'{wnid}_boxes.txt', *(f'{n}\t{b}' for n, b in zip(names, boxes)))
        for i in range(2):
            photo(root / 'val/images' / f'val_{2 * c + i}.JPEG', 64, 64, 100 + 2 * c + i)
            rows.append(f'val_{2 * c + i}.JPEG\t{wnid}\t0\t32\t44\t62')
    text(root / 'val/val_annotations.txt', *rows)
    return root


def voc_xml(path: Path, width: int, height: int, *objects: tuple) -> None:
    """``objects``: (name, xmin, ymin, xmax, ymax[, difficult]); the box's elements in VOC 2012's odd order."""
    rows = ['<annotation>', f'\t<filename>{path.stem}.jpg</filename>', '\t<size>', f'\t\t<width>{width}</width>']
    rows += [f'\t\t<height>{height}</height>', '\t\t<depth>3</depth>', '\t</size>']
    for name, x0, y0, x1, y1, *difficult in objects:
        rows += ['\t<object>', f'\t\t<name>{name}</name>', f'\t\t<difficult>{int(any(difficult))}</difficult>']
        rows += ['\t\t<bndbox>', f'\t\t\t<xmax>{x1}</xmax>', f'\t\t\t<xmin>{x0}</xmin>']
        rows += [f'\t\t\t<ymax>{y1}</ymax>', f'\t\t\t<ymin>{y0}</ymin>', '\t\t</bndbox>']
        # Person parts have boxes of their own inside the object.
        rows += [
            '\t\t<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>'
        ]
        rows += ['\t</object>']
    text(path, *rows, '</annotation>')


def ilsvrc(root: Path) -> Path:
    """Two classes; a CMYK JPEG and a PNG named .JPEG in training; a test image with seven boxes; ImageNetV2."""
    wnids = ['n01440764', 'n02105855']
    text(root / 'LOC_synset_mapping.txt', 'n01440764 tench, Tinca tinca', 'n02105855 Shetland sheepdog, Shetland')
    base = root / 'ILSVRC'
    images, lists = base / 'Data/CLS-LOC', base / 'ImageSets/CLS-LOC'
    photo(images / 'train/n01440764/n01440764_10026.JPEG')
    photo(images / 'train/n01440764/n01440764_13602.JPEG', mode='CMYK', seed=1)
    photo(images / 'train/n02105855/n02105855_2933.JPEG', format='PNG', seed=2)
    stems = ['n01440764/n01440764_10026', 'n01440764/n01440764_13602', 'n02105855/n02105855_2933']
    text(lists / 'train_cls.txt', *(f'{stem} {i}' for i, stem in enumerate(stems, 1)))
    text(lists / 'train_loc.txt', f'{stems[0]} 1')
    voc_xml(base / 'Annotations/CLS-LOC/train' / f'{stems[0]}.xml', 40, 30, (wnids[0], 3, 4, 20, 21))
    text(lists / 'val.txt', 'ILSVRC2012_val_00000001 1', 'ILSVRC2012_val_00000002 2')
    for i in (1, 2):
        photo(images / f'val/ILSVRC2012_val_0000000{i}.JPEG', seed=10 + i)
    xmls = base / 'Annotations/CLS-LOC/val'
    voc_xml(xmls / 'ILSVRC2012_val_00000001.xml', 40, 30, (wnids[1], 1, 8, 39, 19))
    voc_xml(xmls / 'ILSVRC2012_val_00000002.xml', 40, 30, *((wnids[0], i, i, i + 10, i + 12) for i in range(7)))
    val = root / 'metadata/val'
    photo(root / 'val2/0/0.jpeg', seed=20)
    photo(root / 'val2/1/0.jpeg', seed=21)
    text(val / 'image_ids.txt', 'val2/0/0.jpeg', 'val2/1/0.jpeg', end='')
    text(val / 'class_labels.txt', 'val2/0/0.jpeg,0', 'val2/1/0.jpeg,1', end='')
    text(val / 'image_sizes.txt', 'val2/0/0.jpeg,40,30', 'val2/1/0.jpeg,40,30', end='')
    text(
        val / 'localization.txt',
        *(f'val2/{i},{b}' for i, b in (('0/0.jpeg', '1,2,3,4'), ('0/0.jpeg', '5,6,7,8'), ('1/0.jpeg', '0,0,39,29'))),
        end='',
    )
    return root


def openimages(root: Path) -> Path:
    """Two test images of 60×40 with masks of 30×20; ignore file in the first row only; no training masks."""
    for split in ('train', 'val', 'test'):
        folder = root / 'metadata' / split
        ids = [f'{split}/01226z/aa.jpg', f'{split}/0138tl/bb.jpg']
        for i, image in enumerate(ids):
            photo(root / image, 60, 40, seed=30 + i + 10 * len(split))
        text(folder / 'image_ids.txt', *ids, end='')
        text(folder / 'class_labels.txt', f'{ids[0]},0', f'{ids[1]},1', end='')
        text(folder / 'image_sizes.txt', '', end='\n')
        rows = []
        if split != 'train':
            a, b = (image[:-4] for image in ids)
            gray_mask(root / f'{a}_m01226z_1.png', rectangle(20, 30, 0, 10, 0, 10, 255))
            gray_mask(root / f'{a}_m01226z_2.png', rectangle(20, 30, 0, 10, 20, 30, 255))
            gray_mask(root / f'{a}_ignore.png', rectangle(20, 30, 0, 20, 0, 15, 255))
            gray_mask(root / f'{b}_m0138tl_1.png', rectangle(20, 30, 5, 15, 5, 15, 255))
            rows += [f'{ids[0]},{a}_m01226z_1.png,{a}_ignore.png', f'{ids[0]},{a}_m01226z_2.png,']
            rows += [f'{ids[1]},{b}_m0138tl_1.png,']
        text(folder / 'localization.txt', *rows, end='' if rows else '\n')
    return root


def flowers(root: Path) -> Path:
    """Six images; labels from 1; segmentations are JPEGs on blue."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(1, 7):
        photo(root / f'jpg/image_{number:05d}.jpg', 48, 32, seed=number)
        segment = np.zeros((32, 48, 3), dtype=np.uint8)
        segment[...] = (254, 0, 0)  # BGR: blue
        segment[8:24, 16:40] = (60, 180, 230)
        (root / 'segmim').mkdir(exist_ok=True)
        cv2.imwrite(str(root / f'segmim/segmim_{number:05d}.jpg'), segment, [cv2.IMWRITE_JPEG_QUALITY, 95])
    savemat(root / 'imagelabels.mat', {'labels': np.array([[77, 1, 102, 3, 3, 1]], dtype=np.uint8)})
    splits = {'trnid': [[1, 3]], 'valid': [[2]], 'tstid': [[6, 5, 4]]}
    savemat(root / 'setid.mat', {key: np.array(value, dtype=np.uint16) for key, value in splits.items()})
    return root


def palette_mask(path: Path, values: np.ndarray) -> None:
    """A palette PNG in VOC's colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.frombytes('P', values.shape[::-1], values.astype(np.uint8).tobytes())
    image.putpalette(voc_palette().ravel().tolist())
    image.save(path)


def voc(root: Path) -> Path:
    """Three images: a cat and a difficult sofa; a person twice; only a difficult boat."""
    voc_xml(root / 'Annotations/2007_000032.xml', 40, 30, ('cat', 5, 6, 20, 21), ('sofa', 1, 1, 40, 30, True))
    voc_xml(root / 'Annotations/2007_000039.xml', 40, 30, ('person', 2, 3, 10.7, 11), ('person', 20, 3, 30, 11))
    voc_xml(root / 'Annotations/2007_000063.xml', 40, 30, ('boat', 2, 3, 10, 11, True))
    for i, key in enumerate(('2007_000032', '2007_000039', '2007_000063')):
        photo(root / f'JPEGImages/{key}.jpg', seed=40 + i)
        mask = rectangle(30, 40, 5, 21, 4, 20, 255)
        mask[6:20, 5:19] = (8, 15, 4)[i]
        palette_mask(root / f'SegmentationClass/{key}.png', mask)
        palette_mask(root / f'SegmentationClassAug/{key}.png', mask)
    lists = root / 'ImageSets/Segmentation'
    text(lists / 'train.txt', '2007_000032')
    text(lists / 'trainaug.txt', '2007_000032', '2007_000063')
    text(lists / 'val.txt', '2007_000039')
    return root


def glas(root: Path) -> Path:
    """The 165 names of the real Grade.csv's kind with its header; images for a few only."""
    rows = ['name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)']
    rows += [f'testA_{i},{i}, benign, healthy' for i in range(1, 61)]
    rows += [f'testB_{i},{i}, malignant, moderately differentiated' for i in range(1, 21)]
    rows += [
        f'train_{i},{i},{" benign, adenomatous" if i <= 37 else " malignant, poorly differentiated"}'
        for i in range(1, 86)
    ]
    text(root / 'Grade.csv', *rows)
    for i in range(1, 86):
        photo(root / f'train_{i}.bmp', 20, 14, seed=i)
        glands = rectangle(14, 20, 2, 6, 3, 9, 1) + rectangle(14, 20, 8, 12, 3, 9, 7)
        gray_mask(root / f'train_{i}_anno.bmp', glands)
    return root


def camelyon(root: Path) -> Path:
    """Two patches a split: normal without a mask, tumour with one; a header in ``val`` only."""
    for split in ('train', 'val', 'test'):
        for i, label in enumerate(('normal', 'tumor')):
            photo(root / f'{split}/{label}/p{i}.png', 32, 32, seed=60 + i + 2 * len(split))
        gray_mask(root / f'{split}/masks/p1.png', rectangle(32, 32, 4, 12, 8, 24, 255))
        rows = [f'{split}/normal/p0.png,normal,', f'{split}/tumor/p1.png,tumor,{split}/masks/p1.png']
        text(root / f'splits/{split}.csv', *(['path,label,mask'] if split == 'val' else []), *rows)
    return root


def image_folders(root: Path, preset: str) -> Path:
    """Two classes of one of the presets of ``ImageFolders``, with a folder that is no class where there is one."""
    from mmentropy.datasets.readers.image_folders import PRESETS

    if preset in ('sun397', 'indoor67', 'action40'):
        return _listed_folders(root, preset)
    names = {
        'scene15': ('kitchen', 'CALsuburb'),
        'caltech101': ('accordion', 'Faces', 'BACKGROUND_Google'),
        'caltech256': ('001.ak47', '002.american-flag', '257.clutter'),
        'event8': ('polo', 'RockClimbing'),
    }[preset]
    layout = PRESETS[preset]
    count = layout.per_class['train'] + 2
    one = root / 'one.jpg'
    photo(one, 24, 20)
    for name in names:
        folder = root / layout.images / name
        folder.mkdir(parents=True)
        for i in range(count):
            (folder / f'image_{i:04d}.jpg').hardlink_to(one)
        text(folder / 'Thumbs.db', 'no image')
    one.unlink()
    return root


def _listed_folders(root: Path, preset: str) -> Path:
    """SUN397, MIT Indoor 67 or Stanford Action 40: two classes, two training images and one test image of each."""
    if preset == 'sun397':
        names, images = ('/a/abbey', '/c/church/outdoor'), root / 'SUN397'
        text(root / 'Partitions/ClassName.txt', *names)
        lists = {'train': root / 'Partitions/Training_01.txt', 'test': root / 'Partitions/Testing_01.txt'}
        files = {name: [f'{name}/sun_{name.rpartition("/")[2]}{i}.jpg' for i in range(3)] for name in names}
    elif preset == 'indoor67':
        names, images = ('kitchen', 'airport_inside'), root / 'Images'
        lists = {'train': root / 'TrainImages.txt', 'test': root / 'TestImages.txt'}
        files = {name: [f'{name}/{name} {i}.jpg' for i in range(3)] for name in names}
    else:
        names, images = ('applauding', 'blowing_bubbles'), root / 'JPEGImages'
        rows = ('action_name\tnumber_of_images', 'applauding\t3', 'blowing_bubbles\t3')
        text(root / 'ImageSplits/actions.txt', *rows)
        files = {name: [f'{name}_{i:03d}.jpg' for i in range(3)] for name in names}
        for name in names:
            text(root / f'ImageSplits/{name}_train.txt', *files[name][:2])
            text(root / f'ImageSplits/{name}_test.txt', files[name][2])
        lists = {}
    for i, image in enumerate(image for some in files.values() for image in some):
        photo(images / image.lstrip('/'), 24, 20, seed=i)
    for split, path in lists.items():
        text(path, *(image for some in files.values() for image in (some[:2] if split == 'train' else some[2:])))
    return root


def coco(root: Path) -> Path:
    """COCO 2017: two categories of ids with a gap; two images and one without annotation to train, one to test."""
    categories = [{'id': 1, 'name': 'person'}, {'id': 90, 'name': 'toothbrush'}]
    for split, keys in (('train', ('000000000009', '000000000025', '000000000030')), ('val', ('000000000139',))):
        images, annotations = [], []
        for i, key in enumerate(keys):
            photo(root / f'{split}2017/{key}.jpg', seed=90 + i)
            images.append({'id': int(key), 'file_name': f'{key}.jpg', 'width': 40, 'height': 30})
            for category in (90, 1)[i:]:
                outline = [[4, 5, 19, 5, 19, 20, 4, 20]]
                annotations.append({'id': len(annotations), 'image_id': int(key), 'category_id': category})
                annotations[-1] |= {'iscrowd': 0, 'segmentation': outline, 'bbox': [4, 5, 15, 15], 'area': 225}
        content = {'images': images, 'annotations': annotations, 'categories': categories}
        text(root / f'annotations/instances_{split}2017.json', json.dumps(content))
    return root
