# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Files of maps: which one belongs to which image, and what is in them."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmentropy.evaluation import map_files
from mmentropy.evaluation.map_files import MapFolder, StoredMaps, load_maps, read_map, with_map
from mmentropy.evaluation.samples import Case
from mmentropy.ops.mapping.geometry import MapGrid
from mmentropy.ops.mapping.scaling import draw_maps, resize_map
from mmentropy.safe_files import parse_arrays
from mmentropy.shard_files import ShardWriter

CAMS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_leading_folders_may_be_missing_where_the_rest_is_one_images_alone(tmp_path):
    ids = ['images/a/x.jpg', 'images/b/x.jpg', 'images/b/y.jpg', 'other/b/y.jpg']
    for name in ('a/x.jpg', 'b/x', 'b/y'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f'{name}.npy', np.zeros((2, 2)))
    maps = MapFolder(tmp_path, ids)
    assert {i: p.relative_to(tmp_path).as_posix() for i, p in maps.paths.items()} == {
        'images/a/x.jpg': 'a/x.jpg.npy',
        'images/b/x.jpg': 'b/x.npy',
    }
    assert [path.name for path in maps.strangers] == ['y.npy']  # of two images, so of none


def test_one_map_serves_every_class(tmp_path):
    np.save(tmp_path / 'a.npy', CAMS[0])
    np.savez(tmp_path / 'b.npz', cam=CAMS[0], other=np.zeros(3))
    for name in ('a.npy', 'b.npz'):
        stored = load_maps(tmp_path / name)
        np.testing.assert_array_equal(stored.cams, CAMS[:1])
        assert (stored.labels.tolist(), stored.ranking) == ([-1], None)
    sample = with_map({'gt_label': np.array([7])}, stored)
    assert sample['cam_labels'].tolist() == [-1]


def test_maps_of_classes(tmp_path):
    np.savez(tmp_path / 'a.npz', maps=CAMS.astype(np.float16), labels=[5, 2], ranking=[2, 9], settings='x')
    stored = load_maps(tmp_path / 'a.npz')
    np.testing.assert_array_equal(stored.cams, CAMS)
    assert stored.cams.dtype == np.float32
    assert (stored.labels.tolist(), stored.ranking) == ([5, 2], [2, 9])
    sample = with_map({'gt_label': np.array([2])}, stored)
    np.testing.assert_array_equal(sample['cams'], CAMS)
    assert sample['cam_labels'].tolist() == [5, 2]
    assert sample['pred_label'].tolist() == [2]  # the file's own ranking …
    assert with_map({'gt_label': np.array([2])}, stored, [5])['pred_label'].tolist() == [5]  # … unless another is given
    with pytest.raises(ValueError, match=r'maps of the classes \[5, 2\] but not of its own, 3; .* --classes all'):
        with_map({'gt_label': np.array([2, 3])}, stored)


@pytest.mark.parametrize(
    'content',
    [
        dict(maps=CAMS, labels=[1]),
        dict(maps=CAMS[0], labels=[1, 2]),
        dict(maps=CAMS, labels=[1.0, 2.0]),
        dict(maps=CAMS[:0], labels=np.zeros(0, int)),
        dict(maps=CAMS, labels=[1, 2], ranking=[-1]),
        dict(maps=CAMS, labels=[1, 2], ranking=[10**9]),
    ],
)
def test_maps_and_labels_that_do_not_go_together(content, tmp_path):
    np.savez(tmp_path / 'a.npz', **content)
    with pytest.raises(ValueError, match=r'a\.npz holds maps of the shape .*expected \(K, height, width\) and \(K,\)'):
        load_maps(tmp_path / 'a.npz')


def test_values_are_checked_map_by_map(tmp_path):
    np.savez(tmp_path / 'a.npz', maps=np.where(CAMS == 7, np.nan, CAMS), labels=[1, 2])
    with pytest.raises(ValueError, match=r'a\.npz holds 1 NaN or infinite values'):
        load_maps(tmp_path / 'a.npz')


def test_stored_maps_need_no_labels():
    assert StoredMaps(CAMS[:1]).labels.tolist() == [-1]


GRID = MapGrid((0, 1.5), (32, 16), (224, 112))


@pytest.mark.parametrize('content', [dict(maps=CAMS, labels=[5, 2]), dict(cam=CAMS[0])])
@pytest.mark.parametrize('array', [GRID.to_array(), GRID.to_array().astype(np.float32), GRID.to_array().ravel()])
def test_maps_with_a_grid_are_drawn_by_it(content, array, tmp_path):
    """In pixels of an image that was resized as a whole, whatever the pipeline of the ground truths does."""
    np.savez(tmp_path / 'a.npz', **content, grid=array)
    stored = load_maps(tmp_path / 'a.npz')
    assert stored.grid == GRID
    truth = {'gt_label': np.array([2]), 'ori_shape': (448, 448), 'img_shape': (64, 64), 'scale_factor': (0.5, 0.5)}
    case = Case(with_map(truth, stored), 'test')
    expected = draw_maps(stored.cams[-1], (448, 448), GRID)
    np.testing.assert_array_equal(case.drawn_map(2, 'cam', (448, 448)), expected)
    plain = Case(with_map(truth | {'map_grid': GRID}, StoredMaps(stored.cams, stored.labels)), 'test')
    np.testing.assert_array_equal(plain.drawn_map(2, 'cam', (448, 448)), resize_map(stored.cams[-1], (448, 448)))


@pytest.mark.parametrize(
    'grid',
    [
        np.zeros((2, 2)),
        np.array([[0, 0], [32, 0], [224, 224]]),
        np.array([[0, 0], [32, -32], [224, 224]]),
        np.array([[0, 0], [32, 32], [224, 0]]),
        np.array([[0, 0], [32, 32], [224, 224.5]]),
        np.array([[0, np.nan], [32, 32], [224, 224]]),
        np.array([[0, 0], [np.inf, 32], [224, 224]]),
        np.array([[1e300, 0], [32, 32], [224, 224]]),
        np.array([[0, 0], [1e-300, 32], [224, 224]]),
        np.array([['0', '0'], ['32', '32'], ['224', '224']]),
        np.ones((3, 2), bool),
    ],
)
def test_grids_that_cannot_be(grid, tmp_path):
    np.savez(tmp_path / 'a.npz', cam=CAMS[0], grid=grid)
    with pytest.raises(ValueError, match=r'a\.npz holds a grid of the shape .*; expected start, step'):
        load_maps(tmp_path / 'a.npz')


def test_a_map_that_may_be_of_two_ids_is_refused(tmp_path):
    np.save(tmp_path / 'a.npy', np.eye(2))
    np.save(tmp_path / 'b.jpg.npy', np.eye(2))
    np.save(tmp_path / 'b.png.npy', np.eye(3))
    folder = MapFolder(tmp_path, ['a.jpg', 'a.png', 'b.jpg', 'b.png'])
    for image_id in ('a.jpg', 'a.png'):
        told = rf'a\.npy may be its map or that of another id; name it {image_id}\.npy'
        with pytest.raises(ValueError, match=told):
            folder.read(image_id)
    assert folder.read('b.jpg').cams.shape == (1, 2, 2)
    assert folder.read('b.png').cams.shape == (1, 3, 3)
    assert folder.strangers == []


def test_two_maps_of_one_id_are_refused(tmp_path):
    np.save(tmp_path / 'a.npy', np.eye(2))
    np.savez(tmp_path / 'a.npz', np.eye(3))
    np.save(tmp_path / 'c.npy', np.eye(2))
    np.savez(tmp_path / 'c.npz', np.eye(3))
    folder = MapFolder(tmp_path, ['a.jpg'])
    with pytest.raises(ValueError, match=r'a\.npy and .*a\.npz are both its map; remove one'):
        folder.read('a.jpg')
    assert [path.name for path in folder.strangers] == ['c.npy', 'c.npz']


def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((4, 4), np.uint8))
    data = bytearray((tmp_path / 'a.png').read_bytes())
    data[16:24] = (14000).to_bytes(4, 'big') * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, 'big')
    (tmp_path / 'a.png').write_bytes(data)
    with pytest.raises(ValueError, match=r'a\.png has 196 megapixels, more than 134; scale it down'):
        read_map(tmp_path / 'a.png')


def test_a_small_file_of_a_large_map_is_not_unpacked(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / 'a.npz', 'w', zipfile.ZIP_DEFLATED) as archive,
        archive.open('cam.npy', 'w') as file,
    ):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, dict(descr='<f4', fortran_order=False, shape=(150, 2**20)))
        file.write(header.getvalue())
        for _ in range(150):
            file.write(bytes(4 * 2**20))
    for read in (load_maps, read_map):
        with pytest.raises(ValueError, match=r'a\.npz takes 629 MB of memory, more than 537; make it smaller'):
            read(tmp_path / 'a.npz')


def test_digests_follow_the_bytes_and_the_name(tmp_path):
    np.save(tmp_path / 'a.npy', np.eye(2))
    folder = MapFolder(tmp_path, ['a.jpg', 'b.jpg'])
    before = folder.digest('a.jpg')
    assert folder.digest('a.jpg') == before
    np.save(tmp_path / 'a.npy', np.eye(2) * 2)
    assert folder.digest('a.jpg') != before
    np.save(tmp_path / 'a.npy', np.eye(2))
    assert folder.digest('a.jpg') == before
    (tmp_path / 'a.npy').rename(tmp_path / 'a.jpg.npy')
    assert MapFolder(tmp_path, ['a.jpg']).digest('a.jpg') != before
    assert folder.digest('b.jpg') == b''


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_maps_in_shards_are_read_by_the_same_door(tmp_path):
    """Beside files, in folders, with or without the image's suffix; a shard's folder counts."""
    with ShardWriter(tmp_path) as shards:
        shards.write('images/a/x.jpg.npy', npy(CAMS[0]))
        shards.write('README.txt', b'no map')
        shards.write('z.npy', npy(CAMS[0]))
    with ShardWriter(tmp_path / 'images' / 'b', stem='other') as shards:
        shards.write('x.npy', npy(CAMS[1]))
    np.save(tmp_path / 'y.npy', CAMS[0] + 1)
    maps = MapFolder(tmp_path, ['images/a/x.jpg', 'images/b/x.jpg', 'images/b/y.jpg', 'none.jpg'])
    for image_id, expected in (
        ('images/a/x.jpg', CAMS[0]),
        ('images/b/x.jpg', CAMS[1]),
        ('images/b/y.jpg', CAMS[0] + 1),
    ):
        np.testing.assert_array_equal(maps.read(image_id).cams, expected[None])
    assert [str(place) for place in maps.strangers] == [f'{tmp_path}/maps-00000.tar:z.npy']
    assert maps.damaged == []
    with pytest.raises(FileNotFoundError, match='no map'):
        maps.read('none.jpg')


def test_a_map_in_a_shard_and_in_a_file_is_unclear(tmp_path):
    with ShardWriter(tmp_path) as shards:
        shards.write('a.npy', npy(CAMS[0]))
    np.save(tmp_path / 'a.npy', CAMS[0])
    with pytest.raises(ValueError, match=r'maps-00000\.tar:a\.npy and .*a\.npy are both its map|both its map; remove'):
        MapFolder(tmp_path, ['a.jpg']).read('a.jpg')


def test_what_is_wrong_with_a_shard_and_with_a_map_in_it_is_told(tmp_path):
    with ShardWriter(tmp_path) as shards:
        shards.write('a.npy', b'no array')
        shards.write('b.npy', npy(np.zeros((2, 2))))
    path = tmp_path / 'maps-00000.tar'
    maps = MapFolder(tmp_path, ['a.jpg', 'b.jpg'])
    with pytest.raises(ValueError, match=r'maps-00000\.tar:a\.npy cannot be read'):
        maps.read('a.jpg')
    os.truncate(path, 3 * 512)
    maps = MapFolder(tmp_path, ['a.jpg', 'b.jpg'])
    assert list(maps.paths) == ['a.jpg']
    assert maps.damaged == [(str(path), 'is cut off or damaged after 1 files; write the rest again')]


@pytest.mark.parametrize(
    'image_id', ['a/b.jpg', '/a/b.c/d.jpg', './a.jpg', 'a//b.jpg', 'a.b/c', '.hidden', 'x.', 'a/.h/x']
)
def test_names_are_pathlibs(image_id):
    parts = Path(image_id).parts
    names = [Path(*parts[first:]) for first in range(len(parts))]
    expected = [(name.as_posix(), name.with_suffix('').as_posix()) for name in names]
    assert list(map_files._endings(image_id)) == [pair for pair in expected if pair[0] != '/']


@pytest.mark.parametrize(
    'array',
    [
        np.arange(6, dtype='>f4').reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.float16([[0.5, 1]]),
        np.zeros((3, 0)),
        np.array(2.0),
        np.array([True]),
    ],
)
def test_arrays_are_numpys_whatever_their_layout(array, tmp_path):
    for _ in range(2):  # the header's second time comes from memory
        read = parse_arrays(npy(array), 'a.npy')
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
    for data in (
        npy(array)[:-1],
        npy(array)[:40],
        b'\x93NUMPY\x01\x00',
        npy(array)[:8] + b'\xff\xff' + npy(array)[10:],
    ):
        if data != npy(array)[:-1] or array.size:
            with pytest.raises(ValueError, match=r'a\.npy cannot be read'):
                parse_arrays(data, 'a.npy')
