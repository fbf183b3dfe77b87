# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Archives become the readers' layouts, and hostile or damaged ones become a sentence."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import dataset_worlds as worlds
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmentropy.datasets import (
    Camelyon16Patches,
    CUBLocalization,
    GlaS,
    ImageNetLocalization,
    OpenImages30k,
    OxfordFlowers102,
    TinyImageNetLocalization,
    VOC2012MultiLabel,
)
from mmentropy.datasets.preparing import prepare as module
from mmentropy.datasets.preparing.prepare import RECIPES, Source, prepare, safe_name, strip_prefix, unpack
from mmentropy.datasets.preparing.splits import READERS


def tar(archive: Path, *trees: tuple[Path, str], mode: str = 'w') -> None:
    """An archive of (directory, its name inside)."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, mode) as file:
        for tree, name in trees:
            file.add(tree, name)


def same_entries(a, b, root_a: Path, root_b: Path) -> bool:
    """Whether two data sets give the same entries below their roots, images included."""
    if len(a) != len(b):
        return False
    for i in range(len(a)):
        x, y = a.get_data_info(i), b.get_data_info(i)
        if x['img_path'].replace(str(root_a), '') != y['img_path'].replace(str(root_b), ''):
            return False
        if Path(x['img_path']).read_bytes() != Path(y['img_path']).read_bytes() or x['gt_label'] != y['gt_label']:
            return False
        if x.get('gt_bboxes', np.zeros(0)).tolist() != y.get('gt_bboxes', np.zeros(0)).tolist():
            return False
    return True


class TestSets:
    def test_cub(self, tmp_path: Path) -> None:
        world, src, dst = worlds.cub(tmp_path / 'world'), tmp_path / 'src', tmp_path / 'dst'
        names = ('images', *CUBLocalization.INDEX)
        tar(src / 'CUB_200_2011.tgz', *((world / n, f'CUB_200_2011/{n}') for n in names), mode='w:gz')
        tar(src / 'segmentations.tgz', (world / 'segmentations', 'segmentations'), mode='w:gz')
        tar(src / 'CUBV2.tar', (world / 'CUBV2', 'CUBV2'))
        tar(src / 'wsol_metadata.tar.xz', (world / 'metadata/val', 'wsol_metadata/CUB/val'), mode='w:xz')
        prepare('cub', src, dst, quiet=True)
        for split in ('train', 'val', 'test'):
            assert same_entries(CUBLocalization(world, split), CUBLocalization(dst, split), world, dst)
        pipeline = [dict(type='LoadImageFromFile'), dict(type='mmentropy.LoadLocalizationMasks')]
        assert CUBLocalization(dst, 'train', with_masks=True, pipeline=pipeline)[0]['gt_mask'].sum() == 200

    def test_ilsvrc_from_nested_archives_writes_its_lists(self, tmp_path: Path) -> None:
        world, src, dst = worlds.ilsvrc(tmp_path / 'world'), tmp_path / 'src', tmp_path / 'dst'
        images, xmls = world / 'ILSVRC/Data/CLS-LOC', world / 'ILSVRC/Annotations/CLS-LOC'
        for wnid in ('n01440764', 'n02105855'):
            tar(tmp_path / f'inner/{wnid}.tar', *((f, f.name) for f in sorted((images / 'train' / wnid).iterdir())))
        tar(src / 'ILSVRC2012_img_train.tar', *((f, f.name) for f in sorted((tmp_path / 'inner').iterdir())))
        tar(src / 'ILSVRC2012_img_val.tar', *((f, f.name) for f in sorted((images / 'val').iterdir())))
        tar(src / 'ILSVRC2012_bbox_val_v3.tgz', (xmls / 'val', 'val'), mode='w:gz')
        tar(src / 'ILSVRC2012_bbox_train_v2.tar.gz', (xmls / 'train/n01440764', 'n01440764'), mode='w:gz')
        tar(src / 'val2.tar', (world / 'val2', 'val2'))
        tar(
            src / 'wsolevaluation-master.tar.gz',
            (world / 'metadata/val', 'wsolevaluation-master/metadata/ILSVRC/val'),
            mode='w:gz',
        )
        prepare('ilsvrc', src, dst, quiet=True)
        for split in ('train', 'val', 'test'):
            assert same_entries(ImageNetLocalization(world, split), ImageNetLocalization(dst, split), world, dst)
        assert len(ImageNetLocalization(dst, 'train', train_boxes=True)) == 1
        assert (dst / 'LOC_synset_mapping.txt').read_text().split() == ['n01440764', 'n02105855']

    def test_openimages_flowers_glas_camelyon_tiny(self, tmp_path: Path) -> None:
        # OpenImages: images and masks in one directory, metadata in another.
        world, src = worlds.openimages(tmp_path / 'oi'), tmp_path / 'oi_src'
        tar(src / 'OpenImages.tar', *((world / split, f'OpenImages/{split}') for split in ('train', 'val', 'test')))
        tar(src / 'wsol_metadata.tar', (world / 'metadata', 'wsol_metadata/OpenImages'))
        prepare('openimages30k', src, tmp_path / 'oi_dst', quiet=True)
        for split in ('train', 'val', 'test'):
            a, b = (OpenImages30k(root, split) for root in (world, tmp_path / 'oi_dst'))
            assert same_entries(a, b, world, tmp_path / 'oi_dst')
        # Flowers: archives beside plain files.
        world, src = worlds.flowers(tmp_path / 'fl'), tmp_path / 'fl_src'
        tar(src / '102flowers.tgz', (world / 'jpg', 'jpg'), mode='w:gz')
        tar(src / '102segmentations.tgz', (world / 'segmim', 'segmim'), mode='w:gz')
        for name in ('imagelabels.mat', 'setid.mat'):
            (src / name).write_bytes((world / name).read_bytes())
        prepare('flowers102', src, tmp_path / 'fl_dst', quiet=True)
        a, b = (OxfordFlowers102(root, 'test') for root in (world, tmp_path / 'fl_dst'))
        assert same_entries(a, b, world, tmp_path / 'fl_dst')
        # GlaS: a zip whose directory has spaces and brackets.
        world, src = worlds.glas(tmp_path / 'gl'), tmp_path / 'gl_src'
        src.mkdir()
        with zipfile.ZipFile(src / 'warwick_qu_dataset_released_2016_07_08.zip', 'w') as file:
            for path in sorted(world.iterdir()):
                file.write(path, f'Warwick QU Dataset (Released 2016_07_08)/{path.name}')
        prepare('glas', src, tmp_path / 'gl_dst', quiet=True)
        a, b = (GlaS(root, 'val') for root in (world, tmp_path / 'gl_dst'))
        assert same_entries(a, b, world, tmp_path / 'gl_dst')
        # Camelyon: an unpacked directory is linked, or copied.
        world = worlds.camelyon(tmp_path / 'cam_src/camelyon16_patches')
        for copy in (False, True):
            dst = tmp_path / f'cam_dst{copy}'
            prepare('camelyon16', tmp_path / 'cam_src', dst, copy=copy, quiet=True)
            assert same_entries(Camelyon16Patches(world, 'val'), Camelyon16Patches(dst, 'val'), world, dst)
            assert (dst / 'splits/val.csv').is_symlink() is not copy
        # Tiny ImageNet: the prefix tells how many classes.
        world, src = worlds.tiny_imagenet(tmp_path / 'ti'), tmp_path / 'ti_src'
        tar(src / 'tiny-imagenet-2.tar.xz', (world, 'tiny-imagenet-2'), mode='w:xz')
        prepare('tinyimagenet', src, tmp_path / 'ti_dst', quiet=True)
        a, b = (TinyImageNetLocalization(root, 'train') for root in (world, tmp_path / 'ti_dst'))
        assert same_entries(a, b, world, tmp_path / 'ti_dst')

    def test_voc_trainaug_is_made_from_sbd(self, tmp_path: Path) -> None:
        world, src, dst = worlds.voc(tmp_path / 'world'), tmp_path / 'src', tmp_path / 'dst'
        (world / 'ImageSets/Segmentation/trainaug.txt').unlink()
        names = ('Annotations', 'ImageSets', 'JPEGImages', 'SegmentationClass')
        tar(src / 'VOCtrainval_11-May-2012.tar', *((world / n, f'VOCdevkit/VOC2012/{n}') for n in names))
        sbd = tmp_path / 'benchmark_RELEASE/dataset'
        # SBD holds an image of VOC's val, one of its train, and one of neither.
        worlds.text(sbd / 'train.txt', '2007_000063', '2007_000032')
        worlds.text(sbd / 'val.txt', '2007_000039')
        (sbd / 'cls').mkdir()
        mask = worlds.rectangle(30, 40, 5, 15, 5, 15, 4)
        record = np.zeros((1, 1), dtype=[('Segmentation', object)])
        record[0, 0]['Segmentation'] = mask
        for key in ('2007_000063', '2007_000032', '2007_000039'):
            savemat(sbd / f'cls/{key}.mat', {'GTcls': record})
        tar(src / 'benchmark.tgz', (tmp_path / 'benchmark_RELEASE', 'benchmark_RELEASE'), mode='w:gz')
        prepare('voc12', src, dst, quiet=True)
        assert (dst / 'ImageSets/Segmentation/trainaug.txt').read_text().split() == ['2007_000032', '2007_000063']
        aug = dst / 'SegmentationClassAug'
        assert sorted(path.name for path in aug.iterdir()) == ['2007_000032.png', '2007_000063.png']
        with Image.open(aug / '2007_000063.png') as image:
            assert image.mode == 'P'
            assert image.getpalette()[12:15] == [0, 0, 128]  # boat, VOC's colours
            assert np.array_equal(np.asarray(image), mask)
        # VOC's own mask goes before SBD's.
        own = (world / 'SegmentationClass/2007_000032.png').read_bytes()
        assert (aug / '2007_000032.png').read_bytes() == own
        assert len(VOC2012MultiLabel(dst, 'trainaug')) == 2

    def test_a_foreign_trainaug_list_is_rewritten(self, tmp_path: Path) -> None:
        root = worlds.voc(tmp_path)
        row = '/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png'
        worlds.text(root / 'ImageSets/Segmentation/trainaug.txt', row)
        module.voc_trainaug(tmp_path, root)
        assert len(VOC2012MultiLabel(root, 'trainaug')) == 1

    def test_every_reader_has_a_recipe(self) -> None:
        assert set(RECIPES) == set(READERS)
        for name, recipe in RECIPES.items():
            assert set(recipe.splits) <= set(READERS[name].SPLITS)
            assert all(source.url for source in recipe.sources if source.required)


class TestResume:
    def test_interrupted_and_started_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stopped in the middle of a file: nothing half-written, nothing written twice."""
        world, src, dst = worlds.tiny_imagenet(tmp_path / 'world'), tmp_path / 'src', tmp_path / 'dst'
        tar(src / 'tiny-imagenet-2.tar', (world, 'tiny-imagenet-2'))
        original, written = module.shutil.copyfileobj, []

        def copy(stream: io.BufferedIOBase, file: io.BufferedIOBase, size: int) -> None:
            if len(written) == 7:
                file.write(stream.read(100))
                file.flush()
                raise KeyboardInterrupt
            written.append(Path(file.name).name)
            original(stream, file, size)

        monkeypatch.setattr(module.shutil, 'copyfileobj', copy)
        with pytest.raises(KeyboardInterrupt):
            prepare('tinyimagenet', src, dst, quiet=True)
        finished = {p: p.stat().st_mtime_ns for p in dst.rglob('*') if p.is_file() and not p.name.startswith('.')}
        assert len(finished) == 7
        for path in finished:
            assert path.read_bytes() == (world / path.relative_to(dst)).read_bytes()
        monkeypatch.setattr(module.shutil, 'copyfileobj', original)
        prepare('tinyimagenet', src, dst, quiet=True)
        assert all(path.stat().st_mtime_ns == time for path, time in finished.items())
        assert len([p for p in dst.rglob('*') if p.is_file() and not p.name.startswith('.')]) == 15
        assert not list(dst.rglob('*.part'))
        # A third start does not even open the archive.
        monkeypatch.setattr(module, 'unpack', lambda *args: pytest.fail('unpacked again'))
        prepare('tinyimagenet', src, dst, quiet=True)


def hostile(kind: str, folder: Path) -> Path:
    """An archive with one bad member after a good one."""
    if kind.startswith('zip'):
        archive = folder / 'tiny-imagenet-2.zip'
        with zipfile.ZipFile(archive, 'w') as file:
            file.writestr('tiny-imagenet-2/good.txt', 'x')
            info = zipfile.ZipInfo(
                {'zip up': 'tiny-imagenet-2/../../evil.txt', 'zip absolute': '/tmp/evil.txt'}.get(kind, 'l')
            )
            if kind == 'zip link':
                info.external_attr = 0o120777 << 16
            file.writestr(info, '/etc/passwd')
        return archive
    archive = folder / 'tiny-imagenet-2.tar'
    with tarfile.open(archive, 'w') as file:
        good = tarfile.TarInfo('tiny-imagenet-2/good.txt')
        file.addfile(good, io.BytesIO())
        names = {
            'up': 'tiny-imagenet-2/../../evil.txt',
            'absolute': '/tmp/evil.txt',
            'backslash': '..\\evil.txt',
            'drive': 'C:/evil',
        }
        bad = tarfile.TarInfo(names.get(kind, 'tiny-imagenet-2/link'))
        bad.type = {'symlink': tarfile.SYMTYPE, 'hardlink': tarfile.LNKTYPE, 'device': tarfile.CHRTYPE}.get(
            kind, tarfile.REGTYPE
        )
        bad.linkname = '../../../etc/passwd'
        file.addfile(bad, io.BytesIO())
    return archive


class TestHostileArchives:
    KINDS = [
        'up',
        'absolute',
        'backslash',
        'drive',
        'symlink',
        'hardlink',
        'device',
        'zip up',
        'zip absolute',
        'zip link',
    ]

    @pytest.mark.parametrize('kind', KINDS)
    def test_refused(self, kind: str, tmp_path: Path) -> None:
        src, dst = tmp_path / 'src', tmp_path / 'a/b/dst'
        src.mkdir()
        hostile(kind, src)
        with pytest.raises(ValueError, match='the archive is refused'):
            prepare('tinyimagenet', src, dst, quiet=True)
        outside = [p for p in tmp_path.rglob('*') if p.is_file() and src not in p.parents and dst not in p.parents]
        assert outside == []
        assert not any(path.is_symlink() for path in dst.rglob('*'))

    def test_damaged(self, tmp_path: Path) -> None:
        for name, data in (('tiny-imagenet-2.tar', b'no tar'), ('tiny-imagenet-2.zip', b'PK no zip')):
            src = tmp_path / name.replace('.', '')
            src.mkdir()
            (src / name).write_bytes(data)
            with pytest.raises(ValueError, match=r'is damaged .* fetch it again'):
                prepare('tinyimagenet', src, tmp_path / 'dst', quiet=True)

    @pytest.mark.parametrize('mode', ['w:gz', 'w:xz', 'w:bz2', 'zip'])
    @pytest.mark.parametrize('how', ['cut', 'flipped'])
    def test_damaged_inside(self, mode: str, how: str, tmp_path: Path) -> None:
        world, src = worlds.tiny_imagenet(tmp_path / 'world'), tmp_path / 'src'
        src.mkdir()
        archive = src / ('tiny-imagenet-2.zip' if mode == 'zip' else f'tiny-imagenet-2.tar.{mode[2:]}')
        if mode == 'zip':
            with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as file:
                for path in sorted(world.rglob('*.JPEG')):
                    file.write(path, f'tiny-imagenet-2/{path.relative_to(world)}')
        else:
            tar(archive, (world, 'tiny-imagenet-2'), mode=mode)
        data = bytearray(archive.read_bytes())
        middle = len(data) // 2
        archive.write_bytes(data[:middle] if how == 'cut' else data[:middle] + bytes(200) + data[middle + 200 :])
        with pytest.raises(ValueError, match=r'is damaged .* fetch it again'):
            prepare('tinyimagenet', src, tmp_path / 'dst', quiet=True)
        # Whatever stays is right, byte for byte.
        for path in (tmp_path / 'dst').rglob('*.JPEG'):
            if not path.name.startswith('.'):
                assert path.read_bytes() == (world / path.relative_to(tmp_path / 'dst')).read_bytes()

    def test_a_truncated_archive_leaves_whole_files_only(self, tmp_path: Path) -> None:
        world, archive = worlds.tiny_imagenet(tmp_path / 'world'), tmp_path / 'a.tar'
        tar(archive, (world, 'x'))
        archive.write_bytes(archive.read_bytes()[:9000])
        with pytest.raises(ValueError, match='damaged'):
            unpack(archive, tmp_path / 'out', Source(('a',), '', 'x'))
        for path in (tmp_path / 'out').rglob('*'):
            if path.is_file() and not path.name.startswith('.'):
                assert path.read_bytes() == (world / path.relative_to(tmp_path / 'out')).read_bytes()


def test_safe_name_and_prefixes() -> None:
    assert str(safe_name('a/./b.txt', 'x')) == 'a/b.txt'
    cases = {
        ('a/b/c.txt', ''): 'a/b/c.txt',
        ('a/b/c.txt', 'a'): 'b/c.txt',
        ('a/b/c.txt', 'a/b'): 'c.txt',
        ('a/b/c.txt', 'b'): None,
        ('a/b/c.txt', '*/b'): 'c.txt',
        ('a/b/c.txt', '**/b'): 'c.txt',
        ('b/c.txt', '**/b'): 'c.txt',
        ('z/a/b/c/d.txt', '**/a/b'): 'c/d.txt',
        ('a/b', 'a/b'): None,
    }
    for (path, strip), expected in cases.items():
        found = strip_prefix(safe_name(path, 'x'), strip)
        assert (str(found) if found else None) == expected, (path, strip)
