# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What is installed and what is missing: one line a finding, and for each problem a sentence and its cure."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmentropy import __version__
from mmentropy.hosts import TESTED, family, how_to_install, installed

#: What some tools use where it is there, and for what.
EXTRAS = {
    'timm': "timm's networks in Localizer",
    'onnxruntime': 'the comparison at the end of export',
    'sklearn': 'linear-probe and crop-and-classify',
    'tensorboard': 'curves in TensorBoard',
    'fastapi': 'explore',
}
#: Below this the processes that load data are ended by the system.
LEAST_SHARED_MEMORY = 256 * 2**20


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        topic: what it is about.
        told: what was found.
        cure: what to do; only problems have one.
        stops: whether training or localising cannot work with it.

    >>> print(Finding('data', 'cub is not prepared', cure='mmentropy prepare cub').text())
    !  data      cub is not prepared
                 → mmentropy prepare cub
    """

    topic: str
    told: str
    cure: str = ''
    stops: bool = False

    def text(self) -> str:
        """The line, and below it the cure."""
        mark = '✗' if self.stops else '!' if self.cure else '✓'
        cure = f'\n{"":13s}→ {self.cure}' if self.cure else ''
        return f'{mark}  {self.topic:9s} {self.told}{cure}'


def examine(data: Path = Path('data')) -> Iterator[Finding]:
    """Everything that is worth a look, in the order of the report.

    Args:
        data: the folder of data sets.
    """
    yield Finding('mmentropy', f'{__version__} in {Path(__file__).parents[1]}')
    yield from _python()
    yield from _hosts()
    for part in (_torch, _cache, _shared_memory, _whole):
        yield from _guarded(part)
    yield from _extras()
    yield from _guarded(lambda: _data_sets(data))


def _guarded(part: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A part that cannot even be asked is a finding, too: the report goes on."""
    try:
        yield from part()
    except Exception as error:
        yield Finding('error', f'{type(error).__name__}: {error}', 'install mmentropy again: see README, Install', True)


def _python() -> Iterator[Finding]:
    told = f'{platform.python_version()} on {platform.system()} {platform.machine()}'
    told += f', {os.cpu_count()} cores; {sys.executable}'
    yield Finding('python', told)


def _hosts() -> Iterator[Finding]:
    """The packages below us, of which family, and among the versions that were tried."""
    for name, distributions in TESTED.items():
        there = installed(name)
        told = ', '.join(f'{distribution} {number}' for distribution, number in there.items())
        if not there:
            needed = 'for segmentation' if name == 'mmseg' else ''
            cure = how_to_install(family())
            yield Finding('hosts', f'{name} is not installed {needed}'.strip(), cure, stops=name != 'mmseg')
        elif len(there) > 1:
            cure = f'all of them write the folder {name}: pip uninstall {" ".join(there)}, then install one'
            yield Finding('hosts', f'two packages for one name: {told}', cure, stops=True)
        elif not _tried(distributions[next(iter(there))], next(iter(there.values()))):
            low, below = distributions[next(iter(there))]
            cure = f'tried were {low} to below {below}: {how_to_install(family())} takes one of these'
            yield Finding('hosts', told, cure)
        else:
            yield Finding('hosts', told)


def _tried(limits: tuple[str, str], number: str) -> bool:
    from mmentropy.hosts import release

    return release(limits[0]) <= release(number) < release(limits[1])


def _torch() -> Iterator[Finding]:
    import torch
    import torchvision

    told = f'torch {torch.__version__}, torchvision {torchvision.__version__}'
    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        yield Finding('torch', f'{told}; {torch.cuda.device_count()} × {", ".join(sorted(names))}')
    elif shutil.which('nvidia-smi'):
        cure = 'install the build of torch for your driver: https://pytorch.org/get-started/locally'
        yield Finding('torch', f'{told}; there is a GPU, and torch does not see it', cure)
    elif torch.version.cuda:
        cure = 'works; the CPU build saves 6 GB: see docs/get_started.md'
        yield Finding('torch', f'{told}; no GPU', cure)
    else:
        yield Finding('torch', f'{told}; no GPU, CPU build')


def _cache() -> Iterator[Finding]:
    """Where numba keeps what it compiled."""
    from mmentropy.ops.jit import is_cached
    from mmentropy.ops.localizing import component_tree
    from mmentropy.ops.localizing.component_tree import level_boxes  # noqa: F401  decorates its kernels

    kernels = [kernel for kernel in vars(component_tree).values() if hasattr(kernel, 'stats')]
    folders = {kernel.stats.cache_path for kernel in kernels}
    if None in folders:
        cure = 'every process compiles anew: set NUMBA_CACHE_DIR to a folder that can be written'
        yield Finding('numba', 'no folder for compiled code can be written', cure)
    else:
        state = 'compiled' if any(map(is_cached, kernels)) else 'empty: the first evaluation compiles for some seconds'
        yield Finding('numba', f'cache in {folders.pop()}, {state}')


def _shared_memory() -> Iterator[Finding]:
    folder = Path('/dev/shm')
    if folder.is_dir() and (size := shutil.disk_usage(folder).total) < LEAST_SHARED_MEMORY:
        cure = 'start the container with --shm-size 2g, or use train_dataloader.num_workers=0'
        yield Finding('memory', f'/dev/shm has {size / 2**20:.0f} MB, which data workers fill', cure)


def _whole() -> Iterator[Finding]:
    """Configs and tools, which a wheel carries with it."""
    inside = Path(__file__).parents[1] / '.mim'
    missing = [name for name in ('configs', 'tools', 'model-index.yml') if not (inside / name).exists()]
    if missing:
        cure = 'links were not unpacked, or the wheel is an old one: install mmentropy again'
        yield Finding('files', f'{inside} has no {", ".join(missing)}', cure, stops=True)
    else:
        count = sum(1 for _ in (inside / 'configs').glob('*/*.py'))
        yield Finding('files', f'{count} configs (mmentropy::…) and all tools')


def _extras() -> Iterator[Finding]:
    missing = [f'{name} ({use})' for name, use in EXTRAS.items() if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding('extras', f'not installed, and not needed but for: {"; ".join(missing)}')


def _data_sets(data: Path) -> Iterator[Finding]:
    from mmentropy.datasets.preparing.prepare import RECIPES

    yield Finding('data', 'PartShapes is drawn, and needs no files')
    missing = []
    for name in sorted(RECIPES):
        folder = data / name
        if (folder / '.prepared.json').is_file():
            yield Finding('data', f'{name} is prepared in {folder}; mmentropy check {name} looks at every file')
        elif folder.is_dir() and any(folder.iterdir()):
            cure = f'mmentropy check {name} tells whether it is whole; mmentropy prepare {name} --src DIR makes it so'
            yield Finding('data', f'{folder} is there, and was not made by prepare', cure)
        else:
            missing.append(name)
    if missing:
        yield Finding('data', f'not in {data}/: {", ".join(missing)}; mmentropy prepare NAME --src DIR')
