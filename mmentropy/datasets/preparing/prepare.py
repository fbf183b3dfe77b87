# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From the archives as their owners publish them to the trees that the readers expect; nothing is downloaded."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO

from mmentropy.safe_files import load_json, remove_partial, write_whole, written_whole

ARCHIVES = ('.tar', '.tar.gz', '.tgz', '.tar.xz', '.tar.bz2', '.zip')


@dataclass(frozen=True)
class Source:
    """One archive, directory or file of a set.

    Attributes:
        names: patterns of its name in the source directory, archives and unpacked directories alike.
        target: directory below the destination.
        strip: leading directory inside it that is left out, a pattern; what lies outside it is left out. It may be
            at any depth if the pattern begins with ``**/``.
        required: whether the set can do without.
        url: where it is published.
        nested: members that are tar archives themselves go into a directory of their name (ILSVRC's training set).
        unless: patterns of other sources that make this one unnecessary.
    """

    names: tuple[str, ...]
    target: str = ''
    strip: str = ''
    required: bool = True
    url: str = ''
    nested: bool = False
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How a set is prepared: its sources, and what is written after they are in place."""

    name: str
    sources: tuple[Source, ...]
    finish: tuple[Callable[[Path, Path], None], ...] = field(default=())
    splits: tuple[str, ...] = ('train', 'val', 'test')


WSOL_URL = 'https://github.com/clovaai/wsolevaluation'
IMAGENET_URL = 'https://image-net.org/challenges/LSVRC/2012/2012-downloads.php (after registration)'
FLOWERS_URL = 'https://www.robots.ox.ac.uk/~vgg/data/flowers/102/'


def safe_name(name: str, archive: str) -> PurePosixPath:
    """A member's path, or a ValueError if it would land outside the target (absolute, drive letter, ``..``)."""
    path = PurePosixPath(name.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or (path.parts and ':' in path.parts[0]) or '\x00' in name:
        raise ValueError(f'{archive}: the member {name!r} would land outside the target; the archive is refused')
    return path


def strip_prefix(path: PurePosixPath, strip: str) -> PurePosixPath | None:
    """The path below the directory that matches ``strip``; None for what lies outside it."""
    if not strip:
        return path
    wanted = PurePosixPath(strip.removeprefix('**/')).parts
    starts = range(len(path.parts) - len(wanted)) if strip.startswith('**/') else range(len(path.parts) > len(wanted))
    for start in starts:
        head, rest = path.parts[start : start + len(wanted)], path.parts[start + len(wanted) :]
        if all(fnmatch(part, pattern) for part, pattern in zip(head, wanted)):
            return PurePosixPath(*rest)
    return None


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that we read."""
    return path.is_file() and path.name.lower().endswith(ARCHIVES)


def write_file(target: Path, stream: IO[bytes]) -> None:
    """Copy a stream to a temporary name and rename it, so that a crash leaves no half file."""
    # A set has a million files, and the next start compares their sizes.
    with written_whole(target, flush=False) as partial, open(partial, 'wb') as file:
        shutil.copyfileobj(stream, file, 1 << 20)


def write_lines(target: Path, lines: list[str]) -> None:
    """Write a text file, temporary name first; one row a line."""
    write_whole(target, '\n'.join(lines) + '\n')


def unpack(archive: Path, target: Path, source: Source, advance: Callable[[int], None] = lambda done: None) -> int:
    """Unpack an archive's regular files; a file that is there in full size is not written again.

    Args:
        archive: tar (any compression) or zip.
        target: directory.
        source: which prefix is stripped, and whether inner archives are unpacked.
        advance: called with the bytes of each member.

    Returns:
        Number of files written.

    Raises:
        ValueError: for a member outside the target, a link or a special file, or a damaged archive. What a cut-off
            archive gave so far stays; what came out of a corrupted one is not to be trusted and is removed.
    """
    written: list[Path] = []
    try:
        if archive.name.lower().endswith('.zip'):
            with zipfile.ZipFile(archive) as file:
                _unpack_zip(file, archive.name, target, source, advance, written)
        else:
            with tarfile.open(archive, 'r:*') as file:
                _unpack_tar(file, archive.name, target, source, advance, written)
                while file.fileobj.read(1 << 20):  # to the end, where the checksum is
                    pass
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if not isinstance(error, EOFError) and 'unexpected end' not in str(error):
            for path in written:
                path.unlink(missing_ok=True)
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(':')
        raise ValueError(f'{archive} is damaged ({reason}); fetch it again') from None
    return len(written)


def _unpack_zip(
    file: zipfile.ZipFile, name: str, target: Path, source: Source, advance: Callable, written: list[Path]
) -> None:
    for member in file.infolist():
        path = safe_name(member.filename, name)
        # The upper 16 bits are the Unix mode: 0o120000 is a symbolic link.
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            raise ValueError(f'{name}: the member {member.filename!r} is a link; the archive is refused')
        advance(member.compress_size)
        path = strip_prefix(path, source.strip)
        if member.is_dir() or path is None or _complete(target / path, member.file_size):
            continue
        with file.open(member) as stream:
            write_file(target / path, stream)
        written.append(target / path)


def _unpack_tar(
    file: tarfile.TarFile, name: str, target: Path, source: Source, advance: Callable, written: list[Path]
) -> None:
    for member in file:
        path = safe_name(member.name, name)
        if member.isdir():
            continue
        if not member.isreg():
            raise ValueError(f'{name}: the member {member.name!r} is a link or special file; the archive is refused')
        advance(member.size)
        path = strip_prefix(path, source.strip)
        if path is None:
            continue
        if source.nested and path.suffix == '.tar':
            inside, flat = target / path.with_suffix(''), Source(source.names)
            with tarfile.open(fileobj=file.extractfile(member), mode='r|*') as inner:
                _unpack_tar(inner, f'{name}:{member.name}', inside, flat, lambda _: None, written)
        elif not _complete(target / path, member.size):
            write_file(target / path, file.extractfile(member))
            written.append(target / path)


def _complete(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def find_sources(recipe: Recipe, src: Path) -> list[tuple[Source, Path]]:
    """Which sources are in ``src``.

    Raises:
        FileNotFoundError: for a missing one that is required, with its official address.
    """
    if not src.is_dir():
        raise FileNotFoundError(f'{src} is no directory; --src names the directory with the archives')
    entries = sorted(path for path in src.iterdir() if not path.name.startswith('.'))
    sources, missing = [], []
    for source in recipe.sources:
        matches = [
            path
            for pattern in source.names
            for path in entries
            if fnmatch(path.name, pattern)
            and (path.is_dir() or is_archive(path) or path.suffix in ('.mat', '.txt', '.csv'))
        ]
        if matches:
            sources.append((source, matches[0]))
        elif source.required and not any(fnmatch(path.name, other) for other in source.unless for path in entries):
            missing.append(f'{" or ".join(source.names)} (from {source.url})')
    if missing:
        raise FileNotFoundError(f'{src} lacks, for {recipe.name}: {"; ".join(missing)}')
    return sources


def link_tree(tree: Path, target: Path, source: Source, copy: bool = False) -> int:
    """Link (or copy) the files of an unpacked directory to where the reader expects them."""
    count = 0
    for path in sorted(tree.rglob('*')):
        if not path.is_file():
            continue
        # The directory itself may be the prefix, or hold it.
        relative = PurePosixPath(path.relative_to(tree).as_posix())
        inside = strip_prefix(PurePosixPath(tree.name, relative), source.strip) or strip_prefix(relative, source.strip)
        inside = inside if source.strip else relative
        if inside is None:
            continue
        place = target / inside
        if place.exists() and place.stat().st_size == path.stat().st_size:
            continue
        with written_whole(place, flush=False) as partial:
            if copy:
                shutil.copyfile(path, partial)
            else:
                partial.unlink(missing_ok=True)
                partial.symlink_to(path.resolve())
        count += 1
    return count


def prepare(name: str, src: str | Path, dst: str | Path, copy: bool = False, quiet: bool = False) -> Recipe:
    """Bring one set into place; may be called again after an interruption and does what is left.

    Args:
        name: one of :data:`RECIPES`.
        src: directory with the archives as published, or with their unpacked directories.
        dst: root of the set, ``data/<name>``.
        copy: copy unpacked directories instead of linking to them.
        quiet: no progress bars.

    Raises:
        KeyError: for an unknown name.
        FileNotFoundError: for a missing source, with its official address.
        ValueError: for an archive that is damaged or would write outside ``dst``.
    """
    if name not in RECIPES:
        raise KeyError(f'{name!r} is not one of the sets {sorted(RECIPES)}')
    recipe, src, dst = RECIPES[name], Path(src), Path(dst)
    done_file = dst / '.prepared.json'
    remove_partial(dst, below=True)
    done: dict[str, list] = load_json(done_file) if done_file.is_file() else {}
    for source, path in find_sources(recipe, src):
        stamp = [path.stat().st_size, path.stat().st_mtime_ns]
        key = f'{path.name} > {source.target}'
        if path.is_file() and done.get(key) == stamp:
            continue
        target = dst / source.target
        target.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            link_tree(path, target, source, copy)
        elif is_archive(path):
            with _progress(path, quiet) as advance:
                unpack(path, target, source, advance)
        else:
            with open(path, 'rb') as stream:
                write_file(target / path.name, stream)
        done[key] = stamp
        write_lines(done_file, [json.dumps(done)])
    for step in recipe.finish:
        step(src, dst)
    return recipe


class _progress:
    """A rich bar over the bytes of one archive, as a context manager that gives ``advance``."""

    def __init__(self, path: Path, quiet: bool) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn('{task.description}'), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, disable=quiet)
        # A compressed tar's bytes are counted unpacked, so its total is not known.
        total = path.stat().st_size if path.suffix in ('.tar', '.zip') else None
        self.task = self.bar.add_task(path.name, total=total)

    def __enter__(self) -> Callable[[int], None]:
        self.bar.start()
        return lambda done: self.bar.advance(self.task, done)

    def __exit__(self, *exc: object) -> None:
        self.bar.stop()


# --- what is written after the archives are in place ----------------------------------------------------------------


def _files(folder: Path, suffix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from sorted(entry.name for entry in entries if entry.name.endswith(suffix))


def ilsvrc_lists(src: Path, dst: Path) -> None:
    """``train_cls.txt``, ``train_loc.txt``, ``val.txt`` and the class file, where the official archives lack them."""
    root, lists = dst / 'ILSVRC', dst / 'ILSVRC/ImageSets/CLS-LOC'
    train, val = root / 'Data/CLS-LOC/train', root / 'Data/CLS-LOC/val'
    boxes = root / 'Annotations/CLS-LOC/train'
    if train.is_dir() and not (dst / 'LOC_synset_mapping.txt').is_file():
        write_lines(dst / 'LOC_synset_mapping.txt', sorted(path.name for path in train.iterdir() if path.is_dir()))
    sets = {'train_cls.txt': (train, '.JPEG'), 'train_loc.txt': (boxes, '.xml')}
    for name, (folder, suffix) in sets.items():
        if folder.is_dir() and not (lists / name).is_file():
            wnids = sorted(path.name for path in folder.iterdir() if path.is_dir())
            stems = [f'{wnid}/{file[: -len(suffix)]}' for wnid in wnids for file in _files(folder / wnid, suffix)]
            write_lines(lists / name, [f'{stem} {i}' for i, stem in enumerate(stems, start=1)])
    if val.is_dir() and not (lists / 'val.txt').is_file():
        stems = [file[: -len('.JPEG')] for file in _files(val, '.JPEG')]
        write_lines(lists / 'val.txt', [f'{stem} {i}' for i, stem in enumerate(stems, start=1)])


def voc_trainaug(src: Path, dst: Path) -> None:
    """``trainaug.txt`` and ``SegmentationClassAug`` from SBD's ``benchmark_RELEASE``, VOC's own masks first.

    trainaug = (SBD train ∪ SBD val ∪ VOC train) − VOC val: 10 582 images. Without SBD or a ready list nothing is done.
    """
    import numpy as np
    from scipy.io import loadmat

    from mmentropy.datasets.palette import palette_png

    lists, aug = dst / 'ImageSets/Segmentation', dst / 'SegmentationClassAug'
    sbd = dst / '.sbd/dataset'
    if sbd.is_dir() and not (lists / 'trainaug.txt').is_file():
        own = {split: (lists / f'{split}.txt').read_text().split() for split in ('train', 'val')}
        foreign = [key for split in ('train', 'val') for key in (sbd / f'{split}.txt').read_text().split()]
        chosen = sorted((set(foreign) | set(own['train'])) - set(own['val']))
        for key in chosen:
            place = aug / f'{key}.png'
            if place.is_file():
                continue
            if key in set(own['train']):
                with open(dst / 'SegmentationClass' / f'{key}.png', 'rb') as stream:
                    write_file(place, stream)
                continue
            mask = loadmat(sbd / 'cls' / f'{key}.mat')['GTcls']['Segmentation'][0, 0]
            write_file(place, palette_png(np.asarray(mask)))
        write_lines(lists / 'trainaug.txt', chosen)
    elif (lists / 'trainaug.txt').is_file():
        rows = (lists / 'trainaug.txt').read_text().splitlines()
        # Some lists hold '/JPEGImages/<id>.jpg /SegmentationClassAug/<id>.png'.
        ids = [PurePosixPath(row.split()[0]).stem for row in rows if row.strip()]
        if ids != rows:
            write_lines(lists / 'trainaug.txt', ids)


#: The CLS-LOC archive of the Kaggle challenge: everything but ImageNetV2 in one.
KAGGLE = ('imagenet_object_localization*',)
METADATA = ('wsol_metadata*', 'metadata', 'wsolevaluation*')


def _metadata(name: str, split: str = '', required: bool = False) -> Source:
    inside = f'**/{name}/{split}' if split else f'**/{name}'
    return Source(METADATA, f'metadata/{split}' if split else 'metadata', inside, required, WSOL_URL)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            'cub',
            (
                Source(
                    ('CUB_200_2011.tgz', 'CUB_200_2011*'),
                    '',
                    'CUB_200_2011',
                    url='https://data.caltech.edu/records/65de6-vp158',
                ),
                Source(
                    ('segmentations.tgz', 'segmentations'),
                    'segmentations',
                    'segmentations',
                    False,
                    'https://data.caltech.edu/records/w9d68-gec53',
                ),
                Source(('CUBV2*',), 'CUBV2', '**/CUBV2', False, WSOL_URL),
                _metadata('CUB', 'val'),
            ),
        ),
        Recipe(
            'ilsvrc',
            (
                Source(KAGGLE, '', '', False, 'https://www.kaggle.com/c/imagenet-object-localization-challenge/data'),
                Source(
                    ('ILSVRC2012_img_train.tar',),
                    'ILSVRC/Data/CLS-LOC/train',
                    url=IMAGENET_URL,
                    nested=True,
                    unless=KAGGLE,
                ),
                Source(('ILSVRC2012_img_val.tar',), 'ILSVRC/Data/CLS-LOC/val', url=IMAGENET_URL, unless=KAGGLE),
                Source(
                    ('ILSVRC2012_bbox_val*',), 'ILSVRC/Annotations/CLS-LOC/val', 'val', url=IMAGENET_URL, unless=KAGGLE
                ),
                Source(
                    ('ILSVRC2012_bbox_train*',),
                    'ILSVRC/Annotations/CLS-LOC/train',
                    '',
                    False,
                    IMAGENET_URL,
                    nested=True,
                ),
                Source(('LOC_synset_mapping.txt',), '', required=False, url=IMAGENET_URL),
                Source(('val2*', 'imagenetv2*'), 'val2', '*', False, WSOL_URL),
                _metadata('ILSVRC', 'val'),
            ),
            (ilsvrc_lists,),
        ),
        Recipe(
            'openimages30k',
            (
                Source(('OpenImages*', 'openimages*'), '', 'OpenImages*', url=WSOL_URL),
                _metadata('OpenImages', required=True),
            ),
        ),
        Recipe(
            'flowers102',
            (
                Source(('102flowers.tgz', 'jpg'), 'jpg', 'jpg', url=FLOWERS_URL),
                Source(('102segmentations.tgz', 'segmim'), 'segmim', 'segmim', url=FLOWERS_URL),
                Source(('imagelabels.mat',), url=FLOWERS_URL),
                Source(('setid.mat',), url=FLOWERS_URL),
            ),
        ),
        Recipe(
            'voc12',
            (
                Source(
                    ('VOCtrainval_11-May-2012.tar', 'VOCdevkit'),
                    '',
                    'VOCdevkit/VOC2012',
                    url='http://host.robots.ox.ac.uk/pascal/VOC/voc2012/',
                ),
                Source(
                    ('benchmark.tgz', 'benchmark_RELEASE'),
                    '.sbd',
                    'benchmark_RELEASE',
                    False,
                    'http://home.bharathh.info/pubs/codes/SBD/download.html',
                ),
                Source(('SegmentationClassAug*',), 'SegmentationClassAug', 'SegmentationClassAug', False),
                Source(('trainaug.txt',), 'ImageSets/Segmentation', required=False),
            ),
            (voc_trainaug,),
            ('train', 'trainaug', 'val'),
        ),
        Recipe(
            'glas',
            (
                Source(
                    ('warwick_qu_dataset_released_2016_07_08.zip', 'Warwick QU Dataset*', '*GlaS*'),
                    '',
                    'Warwick QU Dataset*',
                    url='https://warwick.ac.uk/fac/cross_fac/tia/data/glascontest/',
                ),
            ),
        ),
        Recipe(
            'camelyon16',
            (
                Source(
                    ('camelyon16*', 'patches*'),
                    '',
                    '*',
                    url='https://camelyon16.grand-challenge.org/Data/ (cut to patches)',
                ),
                Source(('splits',), 'splits', '', False),
            ),
        ),
        Recipe(
            'tinyimagenet',
            (
                Source(
                    ('tiny-imagenet-*',), '', 'tiny-imagenet-*', url='http://cs231n.stanford.edu/tiny-imagenet-200.zip'
                ),
            ),
            splits=('train', 'val'),
        ),
    )
}
