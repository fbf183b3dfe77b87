# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Rows, numbers, boxes and annotations of index files; each fault is a sentence with file and line."""

from __future__ import annotations

import math

import pytest

from mmentropy.datasets.readers.parsing import (
    XMLObject,
    check_box,
    file_exists,
    join,
    read_rows,
    read_text,
    read_voc_xml,
    to_box,
    to_int,
)


def test_paths_and_addresses_are_joined():
    assert join('data', 'a', 'b.jpg') == 'data/a/b.jpg'
    assert join('https://host/set/', 'a', 'b.jpg') == 'https://host/set/a/b.jpg'


def test_text_without_its_mark_and_returns(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'\xef\xbb\xbfone\r\ntwo')
    assert read_text(str(path)) == 'one\ntwo'
    path.write_bytes(b'one\ntw\xff')
    with pytest.raises(ValueError, match=r'a\.txt:2: byte 0xff is not UTF-8'):
        read_text(str(path))
    assert file_exists(str(path))
    assert not file_exists(str(tmp_path / 'b.txt'))
    with pytest.raises(FileNotFoundError, match=r'b\.txt does not exist; fetch it'):
        read_text(str(tmp_path / 'b.txt'), 'fetch it')
    with pytest.raises(FileNotFoundError, match='is a directory, a file is expected'):
        read_text(str(tmp_path))


def test_rows_keep_their_line_numbers(tmp_path):
    path = tmp_path / 'rows.csv'
    path.write_text('a, 1,\n\n  \nb,2,x\n')
    assert list(read_rows(str(path), 3, ',', optional=1)) == [(1, ['a', '1', '']), (4, ['b', '2', 'x'])]
    with pytest.raises(ValueError, match=r"rows\.csv:1: expected name,label,mask, found 'a, 1,'"):
        list(read_rows(str(path), 3, ',', 'name,label,mask'))
    path.write_text('a  b\nc')
    with pytest.raises(ValueError, match=r"rows\.csv:2: expected 2 or 3 columns, found 'c'"):
        list(read_rows(str(path), (3, 2)))
    path.write_text('\n')
    with pytest.raises(ValueError, match=r'rows\.csv holds no row; it is empty or was cut off'):
        list(read_rows(str(path), 1))


def test_integers():
    assert to_int(' 7', 'f:1', 'the label', 0, 8) == 7
    with pytest.raises(ValueError, match=r"f:1: the label must be an integer, found '7\.0'"):
        to_int('7.0', 'f:1', 'the label')
    with pytest.raises(ValueError, match='f:1: the label must be in 0 to 6, found 7'):
        to_int('7', 'f:1', 'the label', 0, 7)
    with pytest.raises(ValueError, match='must be in 1 to …, found 0'):
        to_int('0', 'f:1', 'the label', 1)


def test_boxes():
    assert to_box(['1', '2', '3.5', '4'], 'f:1') == [1.0, 2.0, 3.5, 4.0]
    assert to_box(['1', '2', '3', '4'], 'f:1', corners=False) == [1.0, 2.0, 4.0, 6.0]
    for fields, message in (
        (['1', '2', '3', 'x'], 'f:1: a box needs four numbers'),
        (['1', '2', '3'], 'f:1: a box needs four finite numbers'),
        (['1', '2', '3', 'nan'], 'f:1: a box needs four finite numbers'),
        (['5', '2', '3', '4'], 'f:1: a box needs x0 <= x1 and y0 <= y1'),
    ):
        with pytest.raises(ValueError, match=message):
            to_box(fields, 'f:1')


@pytest.mark.parametrize(('box', 'fits'), [([-1, 0, 9, 6], True), ([0, 0, 9.5, 6], False), ([0, -1.5, 3, 6], False)])
def test_a_box_lies_in_its_image_but_for_some_slack(box, fits):
    if fits:
        check_box(box, 'f:1', (8, 5), slack=1.0)
        check_box(box, 'f:1')
        return
    with pytest.raises(ValueError, match=r'f:1: .* which is 8×5'):
        check_box(box, 'f:1', (8, 5), slack=1.0)
    if min(box) >= -1:
        check_box(box, 'f:1', (math.inf, math.inf))


def test_annotations(tmp_path):
    path = tmp_path / 'a.xml'
    box = '<bndbox><xmax>30</xmax><xmin>1</xmin><ymax>40</ymax><ymin>2</ymin></bndbox>'
    cat = f'<object><name> cat </name><difficult>1</difficult>{box}</object>'
    path.write_text(f'<annotation><size><width>50</width><height>60</height></size>{cat}</annotation>')
    assert read_voc_xml(str(path)) == ((50, 60), [XMLObject('cat', [1.0, 2.0, 30.0, 40.0], True)])
    path.write_text(
        f'<annotation><size><width>0</width><height>60</height></size><object><name>cat</name>{box}</object></annotation>'
    )
    assert read_voc_xml(str(path)) == (None, [XMLObject('cat', [1.0, 2.0, 30.0, 40.0], False)])
    for text, message in (
        ('<annotation>\n<object>', r'a\.xml:2: the annotation is no well-formed XML'),
        ('<annotation><object><name>cat</name></object></annotation>', 'a.xml, object 1: name and bndbox are needed'),
        (f'<annotation>{cat.replace("30", "")}</annotation>', 'object 1: a box needs four numbers'),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_voc_xml(str(path))
