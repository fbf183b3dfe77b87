# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Odd image files: each is read right, or refused in one sentence."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from mmentropy.apis.images import count_images, iterate_images, read_image

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


def test_cmyk_palette_animation_and_orientation(tmp_path):
    red = Image.new('RGB', (6, 4), (250, 10, 10))
    red.convert('CMYK').save(tmp_path / 'cmyk.jpg')
    assert np.abs(read_image(tmp_path / 'cmyk.jpg').astype(int) - (250, 10, 10)).max() < 12
    blue = Image.new('RGB', (6, 4), (10, 10, 250))
    red.save(tmp_path / 'moving.gif', save_all=True, append_images=[blue])
    assert read_image(tmp_path / 'moving.gif')[0, 0].tolist() == [250, 10, 10]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    red.save(tmp_path / 'turned.jpg', exif=exif)
    assert read_image(tmp_path / 'turned.jpg').shape == (6, 4, 3)


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


def test_streams(tmp_path):
    (tmp_path / 'sub').mkdir()
    for name in ('b.png', 'a.jpg', 'sub/c.PNG'):
        Image.fromarray(GRADIENT).save(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('')
    assert [name for name, _ in iterate_images(tmp_path)] == ['a.jpg', 'b.png', 'sub/c.PNG']
    assert count_images(tmp_path) == 3
    mixed = (item for item in [GRADIENT, str(tmp_path / 'b.png'), [GRADIENT, GRADIENT]])
    assert count_images(mixed) is None
    assert [name for name, _ in iterate_images(mixed)] == ['0', 'b.png', '0', '1']
    assert len(list(iterate_images(np.stack([GRADIENT] * 3)))) == 3
    assert count_images([GRADIENT] * 4) == 4
    (tmp_path / 'none').mkdir()
    with pytest.raises(FileNotFoundError, match='no image files'):
        list(iterate_images(tmp_path / 'none'))
