# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Odd image files: each is read right, or refused in one sentence."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmentropy.image_files import read_image

GRADIENT = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


def test_the_same_picture_in_many_forms(tmp_path):
    Image.fromarray(GRADIENT).save(tmp_path / 'a.png')
    forms = [tmp_path / 'a.png', str(tmp_path / 'a.png'), GRADIENT, Image.fromarray(GRADIENT), GRADIENT / 255.0]
    forms += [GRADIENT.astype(np.uint16) * 257, torch.from_numpy(GRADIENT).permute(2, 0, 1)]
    for form in forms:
        found = read_image(form)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, GRADIENT)


def test_gray_bool_and_transparency():
    np.testing.assert_array_equal(read_image(GRADIENT[..., 0]), np.repeat(GRADIENT[..., :1], 3, 2))
    np.testing.assert_array_equal(read_image(np.eye(3, dtype=bool))[..., 1], np.eye(3) * 255)
    clear = np.dstack([GRADIENT, np.array([[0, 255, 0, 255]] * 4, np.uint8)])
    for form in (clear, Image.fromarray(clear)):
        found = read_image(form)
        assert (found[:, ::2] == 255).all()
        np.testing.assert_array_equal(found[:, 1::2], GRADIENT[:, 1::2])


def test_sixteen_bits_keep_their_range(tmp_path):
    values = np.array([[0, 257 * 100, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / 'deep.png')
    assert read_image(tmp_path / 'deep.png')[..., 0].tolist() == [[0, 100, 255]]


def test_cmyk_palette_and_animation(tmp_path):
    red = Image.new('RGB', (6, 4), (250, 10, 10))
    red.convert('CMYK').save(tmp_path / 'cmyk.jpg')
    assert np.abs(read_image(tmp_path / 'cmyk.jpg').astype(int) - (250, 10, 10)).max() < 12
    blue = Image.new('RGB', (6, 4), (10, 10, 250))
    red.save(tmp_path / 'moving.gif', save_all=True, append_images=[blue])
    assert read_image(tmp_path / 'moving.gif')[0, 0].tolist() == [250, 10, 10]


#: EXIF orientation -> what a viewer does with the stored pixels.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize('orientation', TURNS)
@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_exif_orientation_is_followed_only_where_asked_for(tmp_path, orientation, suffix):
    wide = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((8, 8), np.uint8))
    wide = np.repeat(wide[..., None], 3, 2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'turned.{suffix}'
    Image.fromarray(wide).save(path, exif=exif, **({'quality': 100} if suffix == 'jpg' else {}))
    for found, expected in ((read_image(path), TURNS[orientation](wide)), (read_image(path, exif=False), wide)):
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).max() <= 2
    with Image.open(path) as opened:
        np.testing.assert_array_equal(read_image(opened, exif=False), read_image(path, exif=False))


@pytest.mark.parametrize('subsampling', [0, 1, 2])
def test_stored_pixels_are_those_that_the_hosts_transform_reads(tmp_path, subsampling):
    """Classifiers are trained on what OpenCV decodes; analysis and segmentation read the same by this door."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (75, 101, 3), np.uint8), (0, 0), 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).save(tmp_path / 'a.jpg', subsampling=subsampling, exif=exif)
    expected = cv2.imread(str(tmp_path / 'a.jpg'), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[..., ::-1]
    np.testing.assert_array_equal(read_image(tmp_path / 'a.jpg', exif=False), expected)


@pytest.mark.parametrize('shape', [(1, 1), (30, 20_000)])
def test_extreme_sizes_are_read(tmp_path, shape):
    Image.fromarray(np.full(shape, 7, np.uint8)).save(tmp_path / 'x.png')
    assert read_image(tmp_path / 'x.png').shape == (*shape, 3)


def test_unreadable_files_are_refused_by_name(tmp_path):
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'text.png').write_text('not an image')
    Image.effect_noise((64, 64), 50).save(tmp_path / 'whole.jpg')
    data = (tmp_path / 'whole.jpg').read_bytes()
    (tmp_path / 'cut.jpg').write_bytes(data[: len(data) // 2])
    Image.new('1', (8, 8)).save(tmp_path / 'huge.png')
    data = bytearray((tmp_path / 'huge.png').read_bytes())
    data[16:24] = struct.pack('>II', 40_000, 20_000)  # the header alone says so: nothing must be decoded
    data[29:33] = struct.pack('>I', zlib.crc32(data[12:29]))
    (tmp_path / 'huge.png').write_bytes(data)
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / 'float.tif')
    for name, message in [
        ('empty.jpg', '0 bytes'),
        ('text.png', 'not an image'),
        ('cut.jpg', 'cannot be decoded'),
        ('huge.png', 'megapixels'),
        ('float.tif', 'floating-point'),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            read_image(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert '\n' not in str(caught.value)
    with pytest.raises(FileNotFoundError, match='no such image'):
        read_image(tmp_path / 'absent.jpg')


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (np.zeros((2, 2, 2), np.uint8), r'\(2, 2, 2\)'),
        (np.full((2, 2), 3.0), r'floats lies in \[0, 1\]'),
        (np.zeros((2, 2), np.int64), 'int64'),
        (np.zeros((0, 2), np.uint8), r'\(0, 2, 1\)'),
        (42, 'got int'),
    ],
)
def test_wrong_arrays_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        read_image(value)


def test_the_limit_that_is_named_is_the_one_that_refused(tmp_path):
    """196 megapixels are fewer than ours and more than Pillow's."""
    Image.new('L', (1, 1)).save(tmp_path / 'a.png')
    data = bytearray((tmp_path / 'a.png').read_bytes())
    data[16:24] = (14_000).to_bytes(4, 'big') * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, 'big')
    (tmp_path / 'a.png').write_bytes(data)
    with pytest.raises(ValueError, match=r'a\.png: more than 179 megapixels; scale'):
        read_image(tmp_path / 'a.png')
