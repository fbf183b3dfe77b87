# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Every reader of files, with valid files for it and the exceptions that it documents."""

from __future__ import annotations

import fcntl
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import dataset_worlds as worlds
import numpy as np
import torch
from mmengine.runner import CheckpointLoader
from PIL import Image

from mmentropy.apis.writing import ResultWriter
from mmentropy.datasets import (
    Camelyon16Patches,
    CUBLocalization,
    GlaS,
    ImageNetLocalization,
    OpenImages30k,
    OxfordFlowers102,
    TinyImageNetLocalization,
    VOC2012MultiLabel,
    WSOLMetadataDataset,
)
from mmentropy.datasets.label_png import read_label_png
from mmentropy.datasets.readers.parsing import read_voc_xml
from mmentropy.datasets.readers.wsol_metadata import read_metadata
from mmentropy.datasets.sources.coco_index import read_coco
from mmentropy.datasets.sources.labelled_images import read_table
from mmentropy.datasets.transforms.sample_loading import BadSampleError, LoadLocalizationMasks, load_sample
from mmentropy.engine.checkpoint import latest_whole, read_meta
from mmentropy.engine.run_settings import read_settings
from mmentropy.evaluation.map_files import load_maps, read_map, read_predictions
from mmentropy.evaluation.offline import CHUNK, Outcome, _load_state, _save_state
from mmentropy.evaluation.thresholds import load_thresholds
from mmentropy.image_files import read_image
from mmentropy.ops.masks import voc_palette
from mmentropy.processes import one_owner
from mmentropy.safe_files import load_json
from mmentropy.segmentation.files import ImageMaps
from mmentropy.segmentation.foreign_maps import read_irn, read_psa, read_sec
from mmentropy.segmentation.records import StageRecord, read_json
from mmentropy.visualization.report_data import ReportData, Sample

Reader = Callable[[Path], Any]


@dataclass(frozen=True)
class Case:
    """A reader under test.

    Attributes:
        make: writes valid files into a folder.
        read: reads them; must only raise ``errors``, with the folder's path in the message.
        files: those that are damaged, below the folder.
        errors: what the reader documents.
        mend: what is done to the damaged bytes so that the damage gets past checksums.
    """

    make: Callable[[Path], Any]
    read: Reader
    files: tuple[str, ...]
    errors: tuple[type[Exception], ...] = (ValueError, FileNotFoundError)
    mend: Callable[[bytes], bytes] = bytes


def dataset(world: Callable[[Path], Any], reader: type, split: str, *files: str, **options: Any) -> Case:
    """A data set's index files: building it, and reading every entry."""

    def read(folder: Path) -> list[dict]:
        data = reader(str(folder), split, **options)
        return [data.get_data_info(i) for i in range(len(data))]

    return Case(world, read, files)


def metadata(folder: Path) -> None:
    worlds.text(folder / 'image_ids.txt', 'a/x, y.jpg', 'b.jpg', end='')
    worlds.text(folder / 'class_labels.txt', 'a/x, y.jpg,1', 'b.jpg,0', end='')
    worlds.text(folder / 'image_sizes.txt', 'a/x, y.jpg,500,335', 'b.jpg,40,30', end='')
    worlds.text(folder / 'localization.txt', 'a/x, y.jpg,60,27,385,331', 'b.jpg,1,2,3.5,4', end='')


def mask_metadata(folder: Path) -> None:
    metadata(folder)
    worlds.text(folder / 'image_sizes.txt', '')
    worlds.text(folder / 'localization.txt', 'a/x, y.jpg,m_1.png,ignore.png', 'a/x, y.jpg,m_2.png,', 'b.jpg,m.png,')


def coco_masks(folder: Path) -> list[np.ndarray]:
    """Every mask of an instances file."""
    index = read_coco(folder / 'annotations/instances_train2017.json')
    return [index.mask(key) for key in index.images]


def content(name: str, data: bytes | str) -> Callable[[Path], None]:
    """One file of this content."""
    return lambda folder: (folder / name).write_bytes(data.encode() if isinstance(data, str) else data) and None


def npy(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def as_member(name: str) -> Callable[[bytes], bytes]:
    """The damaged bytes as a member of a sound zip, so that the checksum of the archive does not catch them."""

    def mend(data: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, 'w') as archive:
            archive.writestr(name, data)
        return buffer.getvalue()

    return mend


def picture(form: str, mode: str = 'L', side: int = 9) -> bytes:
    values = np.random.default_rng(0).integers(0, 3, (side, side), dtype=np.uint8)
    image = Image.fromarray(values)
    if mode == 'P':
        image = image.convert('P')
        image.putpalette(voc_palette().tobytes())
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, form)
    return buffer.getvalue()


def with_checksums(data: bytes) -> bytes:
    """A PNG with the checksums of its chunks made right again."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack('>I', data[at : at + 4])
        body = data[at + 4 : at + 8 + length]
        if at + 12 + length > len(data):
            break
        out += data[at : at + 4] + body + struct.pack('>I', zlib.crc32(body))
        at += 12 + length
    return out + data[at:]


def masks(folder: Path) -> dict:
    path = str(folder / 'mask.png')
    results = []
    for mask_format in ('nonzero', 'half', 'not_blue', 'palette'):
        sample = dict(mask_paths=[path], mask_format=mask_format)
        try:
            results.append(LoadLocalizationMasks((7, 5)).transform(sample))
        except ValueError:
            if mask_format != 'not_blue':  # which wants three channels
                raise
    return results[0]


def photo_sample(folder: Path) -> dict:
    from mmcv.transforms import LoadImageFromFile

    loaders = [LoadImageFromFile(color_type='color_ignore_orientation')]
    return load_sample(dict(img_path=str(folder / 'a.jpg')), loaders, str(folder / 'list.txt:1'))


def state(folder: Path) -> None:
    outcome = Outcome([{'hits': np.arange(4)}, {'sum': np.ones(2)}], [(0, {'a': 1})], [('x', 'bad')], 3)
    outcome.inputs = [(0, 'one'), (CHUNK, 'other')]
    _save_state(folder / 'state.npz', 'key', {0, 1}, outcome)


STATE = dict(key='key', done=[0], rows=[[0, {'a': 1}]], faults=[['x', 'bad']], images=3, inputs=[[0, 'one']])


def state_of_fields(folder: Path) -> None:
    """A state whose archive is sound, with fields that somebody has edited: it is gone on with, or not used."""
    plain = np.frombuffer((folder / 'plain.json').read_bytes(), np.uint8)
    np.savez(folder / 'state.npz', **{'plain': plain, '0|hits': np.arange(4)})
    done, outcome = _load_state(folder / 'state.npz', 'key')
    assert all(type(number) is int for number in [*done, outcome.images])
    outcome.add(Outcome([{'hits': np.arange(4)}], [(9, {'a': 1})], [('y', 'bad')], 1))


SETTINGS = "model = dict(type='A', head=dict(loss=dict(type='L', weight=1.0)), layers=('a', 'b'))\nx = float('inf')\n"


def checkpoint(folder: Path) -> None:
    meta = {'iter': 3, 'cfg': SETTINGS}
    torch.save({'state_dict': {'w': torch.arange(9.0)}, 'meta': meta}, folder / 'epoch_1.pth')


def read_weights(folder: Path) -> Any:
    """Through the one door; what comes in has weights as they were, unless the file is told to be damaged."""
    return CheckpointLoader.load_checkpoint(str(folder / 'epoch_1.pth'), map_location='cpu', logger=None)


def pickled(folder: Path) -> None:
    checkpoint(folder)
    with zipfile.ZipFile(folder / 'epoch_1.pth') as archive:
        (folder / 'data.pkl').write_bytes(archive.read('epoch_1/data.pkl'))


def read_pickled(folder: Path) -> Any:
    """The damaged pickle in a sound archive."""
    with zipfile.ZipFile(folder / 'epoch_1.pth', 'w') as archive:
        archive.write(folder / 'data.pkl', 'epoch_1/data.pkl')
        archive.writestr('epoch_1/version', '3\n')
        archive.writestr('epoch_1/data/0', np.arange(9, dtype=np.float32).tobytes())
    return read_weights(folder)


def marked(folder: Path) -> None:
    checkpoint(folder)
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))


def latest_of(folder: Path) -> None:
    """Whatever the mark says, the whole checkpoint of this folder is found."""
    assert latest_whole(folder) == (folder / 'epoch_1.pth', [])


def held_lock(folder: Path) -> None:
    """A note of any bytes, held and asked for."""
    with open(folder / 'a.lock', 'rb') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            with one_owner(folder / 'a.lock', 'run', 'wait', patience=0):
                raise AssertionError('it was held')
        except ValueError as error:
            told = str(error)
    assert len(told) < 600
    assert told.isprintable()


def report(folder: Path) -> None:
    samples = [Sample('a', 1, 0, 0.5, boxes=np.ones((1, 4), np.float32), cam=np.zeros((2, 2), np.uint8), thumb=b'x')]
    ReportData(samples, ('a', 'b'), {'accuracy': 1.0}).save(folder / 'report.npz')


def result(folder: Path) -> None:
    (folder / 'maps').mkdir(exist_ok=True)
    arrays = dict(labels=np.array([1]), class_names=np.array(['a']), scores=np.array([0.5]), maps=np.zeros((1, 2, 2)))
    boxes = dict(boxes=np.ones((2, 4)), box_counts=np.array([2]), size=np.array([2, 2]), threshold=0.2, settings='s')
    read = dict(normalize='max', ranking=np.array([1]))
    (folder / 'maps/a.npz').write_bytes(npz(**arrays, **boxes, **read))


def index_cache(folder: Path) -> None:
    entries = pickle.dumps({'img_path': 'a', 'gt_label': 0}, 4)
    data = np.frombuffer(entries, np.uint8)
    (folder / 'index.npz').write_bytes(npz(data_bytes=data, data_address=np.array([len(data)])))


def read_cache(folder: Path) -> Any:
    return CUBLocalization._read_cache(folder / 'index.npz')


def saved_maps(folder: Path) -> None:
    ImageMaps(np.array([1, 4]), np.ones((2, 3, 3), np.float32), (12, 12), np.ones((3, 3), np.float32)).save(
        folder / 'a.npz'
    )


PSA = {1: np.ones((3, 4), np.float32), 4: np.zeros((3, 4), np.float32)}
IRN = {'keys': np.array([1, 4]), 'cam': np.ones((2, 3, 4), np.float32), 'high_res': np.ones((2, 9, 9), np.float32)}
SEC = {'0_labels': np.array([1, 4]), '0_cues': np.array([[1, 4], [0, 40], [3, 5]])}
THRESHOLDS = json.dumps({'wsol/threshold@50': 0.25, 'wsol/MaxBoxAcc@50': 61.5, 'wsol/threshold@70': 0.5}, indent=1)
MANIFEST = json.dumps({'hash': 'ab', 'files': {'a.png': 'c3'}, 'seconds': 1.5, 'images': {'a': 'd4'}})

CASES: dict[str, Case] = {
    # text: index files of data sets
    'metadata of boxes': Case(
        metadata, read_metadata, ('image_ids.txt', 'class_labels.txt', 'image_sizes.txt', 'localization.txt')
    ),
    'metadata of masks': Case(mask_metadata, read_metadata, ('class_labels.txt', 'localization.txt')),
    'cub': dataset(worlds.cub, CUBLocalization, 'train', *CUBLocalization.INDEX),
    'cub val': dataset(worlds.cub, CUBLocalization, 'val', 'metadata/val/localization.txt', 'classes.txt'),
    'tiny imagenet': dataset(
        worlds.tiny_imagenet, TinyImageNetLocalization, 'val', 'val/val_annotations.txt', 'wnids.txt'
    ),
    'ilsvrc': dataset(
        worlds.ilsvrc,
        ImageNetLocalization,
        'test',
        'LOC_synset_mapping.txt',
        'ILSVRC/ImageSets/CLS-LOC/val.txt',
        'ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml',
    ),
    'openimages': dataset(
        worlds.openimages, OpenImages30k, 'val', 'metadata/val/class_labels.txt', 'metadata/val/localization.txt'
    ),
    'flowers': dataset(worlds.flowers, OxfordFlowers102, 'train', 'setid.mat', 'imagelabels.mat'),
    'voc': dataset(
        worlds.voc,
        VOC2012MultiLabel,
        'train',
        'ImageSets/Segmentation/train.txt',
        'Annotations/2007_000032.xml',
    ),
    'glas': dataset(worlds.glas, GlaS, 'train', 'Grade.csv'),
    'camelyon': dataset(worlds.camelyon, Camelyon16Patches, 'val', 'splits/val.csv'),
    'wsol data set': Case(
        lambda folder: metadata(folder / 'train') if (folder / 'train').mkdir(exist_ok=True) is None else None,
        lambda folder: WSOLMetadataDataset(str(folder), 'train', metadata_root=str(folder)).get_data_info(0),
        ('train/class_labels.txt', 'train/image_sizes.txt', 'train/localization.txt'),
    ),
    'coco instances': Case(worlds.coco, coco_masks, ('annotations/instances_train2017.json',)),
    'table of labels': Case(
        content('labels.csv', 'image,label,split\na.jpg,cat;dog,train\n"b, c.jpg",cat,val\n'),
        lambda folder: read_table(folder / 'labels.csv'),
        ('labels.csv',),
    ),
    'voc xml': Case(
        lambda folder: worlds.voc_xml(folder / 'a.xml', 40, 30, ('dog', 1, 2, 30, 20)),
        lambda folder: read_voc_xml(str(folder / 'a.xml')),
        ('a.xml',),
    ),
    'predictions': Case(
        content('p.csv', 'a.jpg,3\n"b,c.jpg",1,2,3\n'), lambda folder: read_predictions(folder / 'p.csv'), ('p.csv',)
    ),
    # JSON
    'thresholds': Case(content('t.json', THRESHOLDS), lambda folder: load_thresholds(folder / 't.json'), ('t.json',)),
    'manifest': Case(content('m.json', MANIFEST), lambda folder: read_json(folder / 'm.json'), ('m.json',)),
    'stage': Case(content('stage.json', MANIFEST), StageRecord.load, ('stage.json',)),
    'json': Case(content('m.json', MANIFEST), lambda folder: load_json(folder / 'm.json'), ('m.json',)),
    # npy and npz
    'map npy': Case(
        content('a.npy', npy(np.eye(5, dtype=np.float32))), lambda folder: read_map(folder / 'a.npy'), ('a.npy',)
    ),
    'map npz': Case(
        content('a.npz', npz(cam=np.eye(5, dtype=np.float32))), lambda folder: read_map(folder / 'a.npz'), ('a.npz',)
    ),
    'maps npz': Case(
        content(
            'a.npz',
            npz(
                maps=np.ones((2, 3, 4), np.float32),
                labels=np.arange(2),
                ranking=np.arange(2),
                grid=np.array([[0, 0], [16, 16], [48, 64]]),
            ),
        ),
        lambda folder: load_maps(folder / 'a.npz'),
        ('a.npz',),
    ),
    'map in npz': Case(
        content('a.npz', npy(np.eye(5, dtype=np.float16))),
        lambda folder: read_map(folder / 'a.npz'),
        ('a.npz',),
        mend=as_member('cam.npy'),
    ),
    'our maps': Case(saved_maps, lambda folder: ImageMaps.load(folder / 'a.npz'), ('a.npz',)),
    'report': Case(report, lambda folder: ReportData.load(folder / 'report.npz'), ('report.npz',)),
    'evaluation state': Case(state, lambda folder: _load_state(folder / 'state.npz', 'key'), ('state.npz',), ()),
    'evaluation state by its fields': Case(
        content('plain.json', json.dumps(STATE)), state_of_fields, ('plain.json',), ()
    ),
    'checkpoint': Case(checkpoint, read_weights, ('epoch_1.pth',), (ValueError, FileNotFoundError, UnpicklingError)),
    'checkpoint for its settings': Case(
        checkpoint, lambda folder: read_meta(folder / 'epoch_1.pth'), ('epoch_1.pth',), ()
    ),
    'pickle of a checkpoint, checksums right': Case(
        pickled, read_pickled, ('data.pkl',), (ValueError, FileNotFoundError, UnpicklingError)
    ),
    'settings in a checkpoint': Case(
        content('text.py', SETTINGS),
        lambda folder: read_settings((folder / 'text.py').read_text(errors='replace')),
        ('text.py',),
        (),
    ),
    'mark of the last checkpoint': Case(marked, latest_of, ('last_checkpoint',), ()),
    'note in a lock': Case(content('a.lock', 'process 1 on host\n'), held_lock, ('a.lock',), ()),
    'written result': Case(
        result, lambda folder: ResultWriter(folder, ('maps',), settings='s').done('a'), ('maps/a.npz',), ()
    ),
    'index cache': Case(index_cache, read_cache, ('index.npz',), ()),
    # pickles
    'psa': Case(content('a.npy', npy(PSA)), lambda folder: read_psa(folder / 'a.npy'), ('a.npy',)),
    'irn': Case(content('a.npy', npy(IRN)), lambda folder: read_irn(folder / 'a.npy'), ('a.npy',)),
    'sec': Case(
        content('cues.pickle', pickle.dumps(SEC, 2)), lambda folder: read_sec(folder / 'cues.pickle'), ('cues.pickle',)
    ),
    # pictures
    'map png': Case(content('a.png', picture('PNG')), lambda folder: read_map(folder / 'a.png'), ('a.png',)),
    'map png, checksums right': Case(
        content('a.png', picture('PNG')), lambda folder: read_map(folder / 'a.png'), ('a.png',), mend=with_checksums
    ),
    'label png': Case(
        content('a.png', picture('PNG', 'P')),
        lambda folder: read_label_png(folder / 'a.png', 3, (9, 9)),
        ('a.png',),
        mend=with_checksums,
    ),
    'masks': Case(content('mask.png', picture('PNG', 'P')), masks, ('mask.png',), mend=with_checksums),
    'photo': Case(content('a.jpg', picture('JPEG')), lambda folder: read_image(folder / 'a.jpg', False), ('a.jpg',)),
    'photo of a data set': Case(content('a.jpg', picture('JPEG')), photo_sample, ('a.jpg',), (BadSampleError,)),
    'any image': Case(content('a.png', picture('PNG')), lambda folder: read_image(folder / 'a.png'), ('a.png',)),
    'any tiff': Case(content('a.tif', picture('TIFF')), lambda folder: read_image(folder / 'a.tif'), ('a.tif',)),
    'any gif': Case(content('a.gif', picture('GIF')), lambda folder: read_image(folder / 'a.gif'), ('a.gif',)),
}


def check(case: Case, folder: Path) -> bool:
    """Read the folder's files; True if that went well, False for a documented error that names a file of the folder.

    Anything else propagates or fails.
    """
    try:
        case.read(folder)
    except case.errors as error:
        if str(folder) not in str(error):
            raise AssertionError(f'the message names no file: {error!r}') from error
        return False
    return True
