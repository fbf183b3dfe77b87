# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Each reader on a set in the real format, with the real one's oddities; the public metadata where they are present."""

from __future__ import annotations

import http.server
import io
import os
import pickle
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dataset_worlds as worlds
import numpy as np
import pytest
from mmengine.fileio import LocalBackend, register_backend
from mmpretrain.datasets.transforms import PackInputs

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
from mmentropy.datasets.preparing.check import check_dataset
from mmentropy.datasets.readers.base import CACHE_FROM, _PlainUnpickler
from mmentropy.registry import TRANSFORMS

LOAD = dict(type='LoadImageFromFile')
MASKS = dict(type='mmentropy.LoadLocalizationMasks')
PACK = dict(type='mmentropy.PackLocalizationInputs')


def box_list(info: dict) -> list:
    return info['gt_bboxes'].tolist()


class TestCUB:
    def test_boxes_labels_and_names(self, tmp_path: Path) -> None:
        data = CUBLocalization(worlds.cub(tmp_path), 'train')
        assert len(data) == 2
        assert data.metainfo['classes'] == ('001.Black_footed_Albatross', '002.Laysan_Albatross')
        first, second = data.get_data_info(0), data.get_data_info(1)
        assert first['img_path'] == str(tmp_path / 'images/001.Black_footed_Albatross/A_0002_55.jpg')
        assert (first['gt_label'], second['gt_label']) == (0, 1)
        # x y width height → x0 y0 x1 y1
        assert box_list(first) == [[1, 2, 4, 6]]
        assert box_list(second) == [[0, 0, 40, 30]]
        assert first['gt_bboxes'].dtype == np.float32
        test = CUBLocalization(tmp_path, 'test')
        assert [test.get_data_info(i)['row'] for i in range(2)] == [1, 4]
        assert box_list(test.get_data_info(0)) == [[6, 2, 36, 22]]

    def test_greyscale_image_has_three_channels(self, tmp_path: Path) -> None:
        data = CUBLocalization(worlds.cub(tmp_path), 'train', pipeline=[LOAD])
        assert data[1]['img'].shape == (30, 40, 3)
        assert (data[1]['img'][..., 0] == data[1]['img'][..., 2]).all()
        assert (data[0]['img'][..., 0] != data[0]['img'][..., 2]).any()

    def test_segmentation_is_at_one_half(self, tmp_path: Path) -> None:
        data = CUBLocalization(worlds.cub(tmp_path), 'test', with_masks=True, pipeline=[LOAD, MASKS])
        assert np.array_equal(data[0]['gt_mask'], worlds.rectangle(30, 40, 5, 15, 10, 30))
        assert data[0]['ignore_mask'].sum() == 0

    def test_cubv2_is_the_validation_split(self, tmp_path: Path) -> None:
        data = CUBLocalization(worlds.cub(tmp_path), 'val', pipeline=[LOAD])
        assert len(data) == 1
        assert box_list(data[0]) == [[17, 13, 45, 29]]
        assert data[0]['img'].shape == (42, 56, 3)
        assert data[0]['gt_label'] == 1


class TestTinyImageNet:
    def test_inclusive_boxes(self, tmp_path: Path) -> None:
        data = TinyImageNetLocalization(worlds.tiny_imagenet(tmp_path), 'train')
        assert [data.get_data_info(i)['gt_label'] for i in range(6)] == [0, 0, 0, 1, 1, 1]
        # One pixel wide: x0 = x1 is a box here.
        assert box_list(data.get_data_info(1)) == [[5, 6, 5, 60]]
        val = TinyImageNetLocalization(tmp_path, 'val')
        assert val.get_gt_labels().tolist() == [0, 0, 1, 1]
        assert box_list(val.get_data_info(3)) == [[0, 32, 44, 62]]

    def test_first_n_classes_and_chosen_classes(self, tmp_path: Path) -> None:
        worlds.tiny_imagenet(tmp_path)
        first = TinyImageNetLocalization(tmp_path, 'val', classes=1)
        assert (len(first), first.metainfo['classes']) == (2, ('n01641577',))
        second = TinyImageNetLocalization(tmp_path, 'val', classes=['n01698640'])
        assert second.get_gt_labels().tolist() == [0, 0]
        assert second.get_data_info(0)['img_path'].endswith('val_2.JPEG')
        turned = TinyImageNetLocalization(tmp_path, 'val', classes=['n01698640', 'n01641577'])
        assert turned.get_gt_labels().tolist() == [1, 1, 0, 0]
        with pytest.raises(ValueError, match=r'unknown.*n00000000'):
            TinyImageNetLocalization(tmp_path, 'val', classes=['n00000000'])
        with pytest.raises(ValueError, match='has 2 classes'):
            TinyImageNetLocalization(tmp_path, 'val', classes=3)

    def test_indices_serialisation_and_multi_label(self, tmp_path: Path) -> None:
        worlds.tiny_imagenet(tmp_path)
        plain = TinyImageNetLocalization(tmp_path, 'train', serialize_data=False)
        packed = TinyImageNetLocalization(tmp_path, 'train')
        for i in (0, 4, -1):
            a, b = plain.get_data_info(i), packed.get_data_info(i)
            assert a.keys() == b.keys()
            assert a['sample_id'] == b['sample_id'] == i % 6
            assert np.array_equal(a['gt_bboxes'], b['gt_bboxes'])
            assert a['img_path'] == b['img_path']
        for chosen, rows in ((2, [0, 1]), (-2, [4, 5]), ([3, 0], [3, 0]), (100, list(range(6)))):
            part = TinyImageNetLocalization(tmp_path, 'train', indices=chosen)
            assert [part.get_data_info(i)['img_path'] for i in range(len(part))] == [
                packed.get_data_info(i)['img_path'] for i in rows
            ]
        assert len(packed.get_subset([5])) == 1
        many = TinyImageNetLocalization(tmp_path, 'train', multi_label=True)
        assert (many.get_data_info(4)['gt_label'], many.get_cat_ids(4)) == ([1], [1])

    def test_packing_keeps_what_the_host_packs(self, tmp_path: Path) -> None:
        worlds.tiny_imagenet(tmp_path)
        ours = TinyImageNetLocalization(tmp_path, 'val', pipeline=[LOAD, PACK])[1]
        host = TinyImageNetLocalization(tmp_path, 'val', pipeline=[LOAD, PackInputs()])[1]
        assert (ours['inputs'] == host['inputs']).all()
        sample = ours['data_samples']
        assert sample.gt_label == host['data_samples'].gt_label
        assert (sample.sample_id, sample.ori_shape) == (1, (64, 64))
        assert sample.gt_bboxes.tolist() == [[0, 32, 44, 62]]
        # Nothing is invented for a set without masks.
        assert 'gt_mask' not in sample
        assert 'tile_bbox' not in sample


class TestImageNet:
    def test_train_list_and_odd_files(self, tmp_path: Path) -> None:
        data = ImageNetLocalization(worlds.ilsvrc(tmp_path), 'train', pipeline=[LOAD])
        assert data.get_gt_labels().tolist() == [0, 0, 1]
        assert 'gt_bboxes' not in data.get_data_info(0)
        # CMYK JPEG and PNG under a JPEG's name.
        assert [data[i]['img'].shape for i in range(3)] == [(30, 40, 3)] * 3

    def test_training_boxes_come_from_the_xml(self, tmp_path: Path) -> None:
        data = ImageNetLocalization(worlds.ilsvrc(tmp_path), 'train', train_boxes=True)
        assert len(data) == 1
        assert box_list(data.get_data_info(0)) == [[3, 4, 20, 21]]

    def test_ilsvrc_validation_is_the_test_split(self, tmp_path: Path) -> None:
        data = ImageNetLocalization(worlds.ilsvrc(tmp_path), 'test')
        assert data.get_gt_labels().tolist() == [1, 0]
        assert box_list(data.get_data_info(0)) == [[1, 8, 39, 19]]
        assert box_list(data.get_data_info(1)) == [[i, i, i + 10, i + 12] for i in range(7)]

    def test_imagenet_v2(self, tmp_path: Path) -> None:
        data = ImageNetLocalization(worlds.ilsvrc(tmp_path), 'val', pipeline=[LOAD])
        assert [box_list(data[i]) for i in range(2)] == [[[1, 2, 3, 4], [5, 6, 7, 8]], [[0, 0, 39, 29]]]
        assert data.get_gt_labels().tolist() == [0, 1]


class TestOpenImages:
    def test_masks_are_joined_and_the_foreground_is_never_ignored(self, tmp_path: Path) -> None:
        data = OpenImages30k(worlds.openimages(tmp_path), 'test', pipeline=[LOAD, {**MASKS, 'size': (40, 60)}])
        assert data.metainfo['classes'][:3] == ('01226z', '0138tl', 'class_2')
        sample = data[0]
        both = worlds.rectangle(40, 60, 0, 20, 0, 20) + worlds.rectangle(40, 60, 0, 20, 40, 60)
        assert np.array_equal(sample['gt_mask'], both)
        # ignore covers columns 0..29 of all rows; where the object is, it does not count.
        assert np.array_equal(sample['ignore_mask'], worlds.rectangle(40, 60, 0, 40, 0, 30) & (1 - both))
        assert data[1]['ignore_mask'].sum() == 0

    def test_a_mask_of_another_size_is_an_error_unless_a_size_is_set(self, tmp_path: Path) -> None:
        data = OpenImages30k(worlds.openimages(tmp_path), 'test', pipeline=[LOAD, MASKS])
        with pytest.raises(ValueError, match=r'image_ids.txt:1: .*_1\.png is a mask of 30×20, but its image is 60×40'):
            data[0]

    def test_training_has_no_masks(self, tmp_path: Path) -> None:
        data = OpenImages30k(worlds.openimages(tmp_path), 'train', pipeline=[LOAD, MASKS])
        assert len(data) == 2
        assert 'gt_mask' not in data[0]


class TestFlowers:
    def test_labels_from_one_and_split_order(self, tmp_path: Path) -> None:
        root = worlds.flowers(tmp_path)
        assert OxfordFlowers102(root, 'train').get_gt_labels().tolist() == [76, 101]
        test = OxfordFlowers102(root, 'test')
        assert [Path(test.get_data_info(i)['img_path']).stem for i in range(3)] == [f'image_0000{n}' for n in (6, 5, 4)]
        assert test.get_gt_labels().tolist() == [0, 2, 2]

    def test_blue_is_background(self, tmp_path: Path) -> None:
        mask = OxfordFlowers102(worlds.flowers(tmp_path), 'val', pipeline=[LOAD, MASKS])[0]['gt_mask']
        truth = worlds.rectangle(32, 48, 8, 24, 16, 40)
        # JPEG rings at the border, within its 8-pixel blocks.
        assert (mask != truth).mean() < 0.01
        assert mask[10:22, 18:38].all()
        assert not mask[:7].any()


class TestVOC:
    def test_difficult_objects_count(self, tmp_path: Path) -> None:
        data = VOC2012MultiLabel(worlds.voc(tmp_path), 'train')
        info = data.get_data_info(0)
        assert info['gt_label'] == [7, 17]
        # From 1 and inclusive to edges: 5..20 are the pixels 4..19.
        assert box_list(info) == [[4, 5, 20, 21], [0, 0, 40, 30]]
        assert info['gt_bbox_labels'].tolist() == [7, 17]

    def test_without_difficult_objects(self, tmp_path: Path) -> None:
        data = VOC2012MultiLabel(worlds.voc(tmp_path), 'trainaug', difficult=False)
        assert [data.get_data_info(i)['gt_label'] for i in range(len(data))] == [[7]]

    def test_parts_are_no_objects_and_boxes_may_be_fractions(self, tmp_path: Path) -> None:
        info = VOC2012MultiLabel(worlds.voc(tmp_path), 'val').get_data_info(0)
        assert info['gt_label'] == [14]
        assert box_list(info) == [[1, 2, np.float32(10.7), 11], [19, 2, 30, 11]]

    def test_255_is_ignored_not_foreground(self, tmp_path: Path) -> None:
        sample = VOC2012MultiLabel(worlds.voc(tmp_path), 'trainaug', pipeline=[LOAD, MASKS])[0]
        inside = worlds.rectangle(30, 40, 6, 20, 5, 19)
        assert np.array_equal(sample['gt_mask'], inside)
        assert np.array_equal(sample['ignore_mask'], worlds.rectangle(30, 40, 5, 21, 4, 20) - inside)
        assert sorted(np.unique(sample['gt_seg_map'])) == [0, 8, 255]

    def test_kept_classes_keep_their_boxes(self, tmp_path: Path) -> None:
        data = VOC2012MultiLabel(worlds.voc(tmp_path), 'train', classes=['sofa', 'dog'])
        info = data.get_data_info(0)
        assert (info['gt_label'], box_list(info), info['gt_bbox_labels'].tolist()) == ([0], [[0, 0, 40, 30]], [0])

    def test_kept_classes_keep_their_pixels(self, tmp_path: Path) -> None:
        root = worlds.voc(tmp_path)
        plain = VOC2012MultiLabel(root, 'trainaug', pipeline=[LOAD, MASKS])[0]
        cat = plain['gt_seg_map'] == 8  # palette index = label + 1
        kept = VOC2012MultiLabel(root, 'trainaug', classes=['sofa', 'cat'], pipeline=[LOAD, MASKS])[0]
        assert np.array_equal(kept['gt_seg_map'] == 2, cat)
        assert np.array_equal(kept['gt_mask'], cat)
        lost = VOC2012MultiLabel(root, 'trainaug', classes=['sofa'], pipeline=[LOAD, MASKS])[0]
        assert sorted(np.unique(lost['gt_seg_map'])) == [0, 255]
        assert not lost['gt_mask'].any()
        assert np.array_equal(lost['ignore_mask'], plain['ignore_mask'])


class TestGlaS:
    def test_division(self, tmp_path: Path) -> None:
        worlds.glas(tmp_path)
        splits = {split: GlaS(tmp_path, split) for split in ('train', 'val', 'test')}
        assert {k: len(v) for k, v in splits.items()} == GlaS.COUNTS
        assert Counter(splits['val'].get_gt_labels().tolist()) == {0: 8, 1: 10}
        paths = {k: {v.get_data_info(i)['img_path'] for i in range(len(v))} for k, v in splits.items()}
        assert not paths['train'] & paths['val']
        other = GlaS(tmp_path, 'val', fold=1)
        assert {other.get_data_info(i)['img_path'] for i in range(18)} != paths['val']

    def test_glands_are_all_that_is_not_zero(self, tmp_path: Path) -> None:
        sample = GlaS(worlds.glas(tmp_path), 'train', pipeline=[LOAD, MASKS])[0]
        assert np.array_equal(
            sample['gt_mask'], worlds.rectangle(14, 20, 2, 6, 3, 9) + worlds.rectangle(14, 20, 8, 12, 3, 9)
        )


class TestCamelyon:
    def test_normal_patches_have_an_empty_mask(self, tmp_path: Path) -> None:
        worlds.camelyon(tmp_path)
        for split in ('train', 'val', 'test'):
            data = Camelyon16Patches(tmp_path, split, pipeline=[LOAD, MASKS])
            assert data.get_gt_labels().tolist() == [0, 1]
            assert data[0]['gt_mask'].shape == (32, 32)
            assert data[0]['gt_mask'].sum() == 0
            assert np.array_equal(data[1]['gt_mask'], worlds.rectangle(32, 32, 4, 12, 8, 24))


def shared_metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    default = Path(__file__).parents[3].parent / 'shared'
    archive = Path(os.environ.get('MMENTROPY_SHARED', default)) / 'data/wsol_metadata.tar.xz'
    if not archive.is_file():
        pytest.skip(f'the public WSOL metadata are not present ({archive})')
    folder = tmp_path_factory.mktemp('metadata')
    with tarfile.open(archive) as file:
        file.extractall(folder, filter='data')
    return folder / 'wsol_metadata'


@pytest.fixture(scope='module')
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_metadata(tmp_path_factory)


class TestPublicMetadata:
    COUNTS = [
        ('CUB', 200, 'train', 5994, 5994),
        ('CUB', 200, 'val', 1000, 1000),
        ('CUB', 200, 'test', 5794, 5794),
        ('ILSVRC', 1000, 'val', 10_000, 18_532),
        ('ILSVRC', 1000, 'test', 50_000, 80_477),
        ('OpenImages', 100, 'train', 29_819, 0),
        ('OpenImages', 100, 'val', 2500, 0),
        ('OpenImages', 100, 'test', 5000, 0),
    ]

    @pytest.mark.parametrize(('name', 'classes', 'split', 'images', 'boxes'), COUNTS)
    def test_counts(self, metadata: Path, name: str, classes: int, split: str, images: int, boxes: int) -> None:
        data = WSOLMetadataDataset('photos', split, metadata_root=metadata / name, num_classes=classes)
        infos = [data.get_data_info(i) for i in range(len(data))]
        assert len(infos) == images
        assert sum(len(info.get('gt_bboxes', ())) for info in infos) == boxes
        labels = Counter(info['gt_label'] for info in infos)
        assert sorted(labels) == list(range(classes))
        if (name, split) == ('CUB', 'val'):
            assert (min(labels.values()), max(labels.values())) == (3, 6)
        if (name, split) == ('OpenImages', 'test'):
            assert sum(len(info['mask_paths']) for info in infos) == 7632

    def test_openimages_class_names(self, metadata: Path, tmp_path: Path) -> None:
        (tmp_path / 'metadata').symlink_to(metadata / 'OpenImages')
        names = OpenImages30k(tmp_path, 'val').metainfo['classes']
        assert len(set(names)) == 100
        assert names[:2] == ('01226z', '0138tl')


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


def test_transforms_repeat_their_settings() -> None:
    assert repr(TRANSFORMS.build({**MASKS, 'size': (3, 4)})) == 'LoadLocalizationMasks(size=(3, 4))'
