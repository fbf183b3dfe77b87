# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What all readers share: file backends, the cache of the index, bad images that are skipped or raised."""

from __future__ import annotations

import http.server
import io
import os
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dataset_worlds as worlds
import numpy as np
import pytest
from dataset_worlds import box_list
from mmengine.fileio import LocalBackend, register_backend

from mmentropy.datasets import (
    CUBLocalization,
    TinyImageNetLocalization,
    VOC2012MultiLabel,
)
from mmentropy.datasets.preparing.check import check_dataset
from mmentropy.datasets.readers.base import CACHE_FROM, _PlainUnpickler

LOAD = dict(type='LoadImageFromFile')
MASKS = dict(type='mmentropy.LoadLocalizationMasks')


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """A local HTTP server of a directory; gives its address."""
    handler = partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f'http://127.0.0.1:{server.server_port}'
        finally:
            server.shutdown()


class TestBackends:
    def test_reading_over_http(self, tmp_path: Path) -> None:
        worlds.voc(tmp_path)
        with serve(tmp_path) as address:
            far = VOC2012MultiLabel(address, 'train', pipeline=[LOAD, MASKS])
            near = VOC2012MultiLabel(tmp_path, 'train', pipeline=[LOAD, MASKS])
            assert far.get_data_info(0)['img_path'] == f'{address}/JPEGImages/2007_000032.jpg'
            for key in ('img', 'gt_mask', 'ignore_mask', 'gt_bboxes'):
                assert np.array_equal(far[0][key], near[0][key])
            (tmp_path / 'JPEGImages/2007_000032.jpg').unlink()
            with pytest.raises(
                FileNotFoundError, match=r'train\.txt:1: http.*_000032\.jpg cannot be read \(HTTP Error 404'
            ):
                far[0]
            (tmp_path / 'ImageSets/Segmentation/val.txt').unlink()
            with pytest.raises(FileNotFoundError, match=r'val\.txt cannot be read'):
                VOC2012MultiLabel(address, 'val')

    def test_metadata_over_http(self, tmp_path: Path) -> None:
        worlds.cub(tmp_path)
        with serve(tmp_path) as address:
            data = CUBLocalization(address, 'val', pipeline=[LOAD])
            assert box_list(data[0]) == [[17, 13, 45, 29]]
            assert data[0]['img'].shape == (42, 56, 3)

    def test_a_backend_of_ones_own(self, tmp_path: Path) -> None:
        """As S3 is: a prefix, and no local file. Everything is read through mmengine.fileio."""

        class Bucket(LocalBackend):
            def get(self, filepath: str) -> bytes:
                return super().get(filepath.replace('bucket://', f'{tmp_path}/'))

            def isfile(self, filepath: str) -> bool:
                return super().isfile(filepath.replace('bucket://', f'{tmp_path}/'))

        register_backend('bucket', Bucket, force=True, prefixes='bucket')
        worlds.cub(tmp_path / 'cub')
        for split in CUBLocalization.SPLITS:
            masks = split != 'val'
            far = CUBLocalization('bucket://cub', split, with_masks=masks, pipeline=[LOAD, MASKS])
            near = CUBLocalization(tmp_path / 'cub', split, with_masks=masks, pipeline=[LOAD, MASKS])
            assert len(far) == len(near)
            for key in ('img', 'gt_bboxes', *(['gt_mask'] if masks else [])):
                assert np.array_equal(far[0][key], near[0][key])
        assert check_dataset({'test': CUBLocalization('bucket://cub', 'test')}, jobs=1).faults == [
            'bucket://cub/images.txt: 2 images in test, 5794 are documented'
        ]

    def test_a_data_set_travels_to_other_processes(self, tmp_path: Path) -> None:
        data = CUBLocalization(worlds.cub(tmp_path), 'test', pipeline=[LOAD])
        again = pickle.loads(pickle.dumps(data))
        assert np.array_equal(again[1]['img'], data[1]['img'])
        assert np.array_equal(again[1]['gt_bboxes'], data[1]['gt_bboxes'])


class TestIndexCache:
    def test_second_start_reads_the_cache_until_the_index_changes(self, tmp_path: Path, monkeypatch) -> None:
        root = worlds.tiny_imagenet(tmp_path / 'set')
        monkeypatch.setenv('MMENTROPY_CACHE', str(tmp_path / 'cache'))
        monkeypatch.setattr('mmentropy.datasets.readers.base.CACHE_FROM', 2)
        assert CACHE_FROM == 100_000
        parsed = []
        original = TinyImageNetLocalization.parse_index

        def counted(self):
            parsed.append(self.split)
            return original(self)

        monkeypatch.setattr(TinyImageNetLocalization, 'parse_index', counted)
        first = TinyImageNetLocalization(root, 'val')
        second = TinyImageNetLocalization(root, 'val')
        assert parsed == ['val']
        assert [first.get_data_info(i)['img_path'] for i in range(4)] == [
            second.get_data_info(i)['img_path'] for i in range(4)
        ]
        assert len(TinyImageNetLocalization(root, 'val', classes=1)) == 2  # another option, another entry
        assert parsed == ['val'] * 2
        file = root / 'val/val_annotations.txt'
        file.write_text(file.read_text().replace('\t0\t32\t44\t62', '\t1\t32\t44\t62'))
        assert box_list(TinyImageNetLocalization(root, 'val').get_data_info(0)) == [[1, 32, 44, 62]]
        assert parsed == ['val'] * 3
        TinyImageNetLocalization(root, 'val', index_cache=False)
        assert parsed == ['val'] * 4

    def test_a_planted_cache_cannot_run_code(self) -> None:
        with pytest.raises(pickle.UnpicklingError, match=r'posix\.system|nt\.system'):
            _PlainUnpickler(io.BytesIO(pickle.dumps(os.system))).load()


JPEG = 'train/n01641577/images/n01641577_0.JPEG'


class TestSkip:
    def test_training_counts_logs_and_goes_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        root = worlds.tiny_imagenet(tmp_path)
        damaged = root / JPEG
        damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 20])
        (root / 'train/n01698640/images/n01698640_2.JPEG').unlink()
        data = TinyImageNetLocalization(root, 'train', on_bad_image='skip', pipeline=[LOAD])
        said: list[str] = []
        monkeypatch.setattr('mmentropy.datasets.readers.base.print_log', lambda text, *_: said.append(text))
        seen = [data[i]['sample_id'] for _ in range(3) for i in range(6)]
        # The two bad ones are replaced by others, the four good ones stay in place.
        assert 0 not in seen
        assert 5 not in seen
        assert [seen[i] for i in (1, 2, 3, 4)] == [1, 2, 3, 4]
        assert sorted(Path(path).name for path in data.bad_images) == ['n01641577_0.JPEG', 'n01698640_2.JPEG']
        assert 'cannot be decoded' in data.bad_images[str(root / JPEG)]
        # Logged once each, with a running count.
        assert [text.split(':')[0] for text in said] == ['skipped bad image 1', 'skipped bad image 2']

    def test_raising_is_the_default(self, tmp_path: Path) -> None:
        root = worlds.tiny_imagenet(tmp_path)
        (root / JPEG).unlink()
        with pytest.raises(FileNotFoundError):
            TinyImageNetLocalization(root, 'train', pipeline=[LOAD])[0]

    def test_a_bug_in_an_augmentation_is_never_skipped(self, tmp_path: Path) -> None:
        def bug(results: dict) -> dict:
            raise ValueError('a bug')

        root = worlds.tiny_imagenet(tmp_path)
        data = TinyImageNetLocalization(root, 'train', on_bad_image='skip', pipeline=[LOAD, bug])
        with pytest.raises(ValueError, match='a bug'):
            data[0]

    def test_an_evaluation_is_not_thinned_out(self, tmp_path: Path) -> None:
        root = worlds.tiny_imagenet(tmp_path)
        with pytest.raises(ValueError, match='would change what is evaluated'):
            TinyImageNetLocalization(root, 'val', on_bad_image='skip')
        with pytest.raises(ValueError, match="must be 'raise' or 'skip', got 'ignore'"):
            TinyImageNetLocalization(root, 'train', on_bad_image='ignore')
        with pytest.raises(ValueError, match=r"has the splits .*not 'dev'"):
            TinyImageNetLocalization(root, 'dev')
