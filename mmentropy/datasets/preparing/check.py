# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Is a prepared set whole? Counts, files, images, boxes, labels, masks, and splits that share no image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mmcv.transforms import LoadImageFromFile

from mmentropy.datasets.readers.base import LocalizationDataset
from mmentropy.datasets.readers.parsing import file_exists, read_bytes
from mmentropy.datasets.transforms.sample_loading import AS_STORED, BadSampleError, LoadLocalizationMasks, load_sample


@dataclass
class SplitReport:
    """What was found of one split."""

    split: str
    images: int = 0
    expected: int | None = None
    classes: int = 0
    boxes: int = 0
    masks: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class CheckReport:
    """What was found of a set; ``faults`` across splits and of each.

    >>> report = CheckReport([SplitReport('train', images=3, faults=['a.jpg is missing'])])
    >>> report.faults, report.text().splitlines()[-1]
    (['a.jpg is missing'], '1 fault(s)')
    """

    splits: list[SplitReport] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """All faults, one sentence each, with file and line."""
        return [fault for split in self.splits for fault in split.faults] + self.shared

    def text(self, limit: int = 200) -> str:
        """The report as a table and a list of at most ``limit`` faults."""
        lines = [f'{"split":<10}{"images":>10}{"expected":>10}{"classes":>9}{"boxes":>9}{"masks":>9}{"faults":>8}']
        for one in self.splits:
            expected = '—' if one.expected is None else one.expected
            counts = f'{one.classes:>9}{one.boxes:>9}{one.masks:>9}{len(one.faults):>8}'
            lines.append(f'{one.split:<10}{one.images:>10}{expected:>10}{counts}')
        faults = self.faults
        lines += [f'fault: {fault}' for fault in faults[:limit]]
        if len(faults) > limit:
            lines.append(f'… and {len(faults) - limit} faults more')
        lines.append(f'{len(faults)} fault(s)' if faults else 'no fault')
        return '\n'.join(lines)


def check_dataset(
    datasets: dict[str, LocalizationDataset | Exception],
    deep: bool = False,
    jobs: int | None = None,
    progress: Any = None,
) -> CheckReport:
    """Check the splits of a set.

    Args:
        datasets: split → data set with its pipeline unused, or the error that building it raised.
        deep: decode every image and mask, and compare the splits by content.
        jobs: processes for the deep check; all cores by default.
        progress: called with the number of images done, for a bar.

    Returns:
        The report; nothing is raised for a fault.
    """
    report, owners = CheckReport(), {}
    for split, data in datasets.items():
        one = SplitReport(split)
        report.splits.append(one)
        if isinstance(data, Exception):
            one.faults.append(str(data))
            continue
        one.images, one.expected, one.classes = len(data), data.expected_count(), len(data.metainfo['classes'])
        if one.expected is not None and one.images != one.expected:
            one.faults.append(f'{data.index_files()[0]}: {one.images} images in {split}, {one.expected} are documented')
        marks = _check_split(data, one, deep, jobs, progress)
        for mark, where in marks:
            other, place = owners.setdefault(mark, (split, where))
            # Two training splits may hold the same image: VOC's train is a part of trainaug.
            if other != split and not {split, other} <= set(data.TRAIN_SPLITS):
                report.shared.append(f'{where}: the same image is in {split} and, {place}, in {other}')
    return report


def _check_split(
    data: LocalizationDataset, report: SplitReport, deep: bool, jobs: int | None, progress: Any
) -> Iterator[tuple[str, str]]:
    """Fill the report; yield (mark of the image, where it is named)."""
    listing = _Listing()
    infos = []
    for index in range(len(data)):
        info = data.get_data_info(index)
        where = data.where(info)
        report.boxes += len(info.get('gt_bboxes', ()))
        files = [info['img_path'], *info.get('mask_paths', ()), *filter(None, [info.get('ignore_path')])]
        report.masks += len(info.get('mask_paths', ()))
        lost = [file for file in files if not listing.has(file)]
        report.faults += [f'{where}: {file} does not exist' for file in lost]
        if deep and not lost:
            infos.append((info, where, data.BOX_SLACK, data.MASKS_OF_IMAGE_SIZE, data.backend_args))
        elif not deep:
            yield info['img_path'], where
            if progress:
                progress(1)
    if not deep:
        return
    with ProcessPoolExecutor(jobs or os.cpu_count()) as pool:
        for (_, where, *_), (mark, fault) in zip(infos, pool.map(check_sample, infos, chunksize=16)):
            if fault:
                report.faults.append(fault)
            if mark:
                yield mark, where
            if progress:
                progress(1)


def check_sample(task: tuple) -> tuple[str | None, str | None]:
    """Decode one image with its masks: (hash of the image's bytes, fault); for a worker process."""
    info, where, slack, same_size, backend_args = task
    masks = LoadLocalizationMasks(None if same_size else (224, 224), backend_args=backend_args)
    try:
        data = read_bytes(info['img_path'], backend_args=backend_args)
    except FileNotFoundError as error:
        return None, f'{where}: {error}'
    try:
        image = LoadImageFromFile(color_type=AS_STORED, backend_args=backend_args)
        height, width = load_sample(dict(info), [image, masks], where, slack)['ori_shape']
        if info.get('size', [width, height]) != [width, height]:
            raise ValueError(f'{info["img_path"]} is {width}×{height}, but its index says {info["size"]}')
    except (BadSampleError, ValueError) as error:
        text = str(error)
        return hashlib.sha1(data).hexdigest(), text if text.startswith(where) else f'{where}: {text}'
    return hashlib.sha1(data).hexdigest(), None


class _Listing:
    """Does a file exist? One directory listing instead of a million stats; other backends are asked file by file."""

    def __init__(self) -> None:
        self.folders: dict[str, set[str]] = {}

    def has(self, path: str) -> bool:
        if '://' in path:
            return file_exists(path)
        folder, name = os.path.split(path)
        if folder not in self.folders:
            try:
                with os.scandir(folder or '.') as entries:
                    self.folders[folder] = {entry.name for entry in entries if entry.is_file()}
            except OSError:
                self.folders[folder] = set()
        return name in self.folders[folder]
