# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Features of a frozen trunk on disk: written once, in half precision, in shards that a killed run goes on with.

A cache is a folder of one split: ``manifest.json`` (whose features these are, and their shape), and for each shard
``00000.npy`` (samples, views, D, h, w) with ``00000.json`` (what else the samples hold) and, where they have masks,
``00000.npz``. Nothing is pickled. A shard counts when its ``.json`` is there, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmentropy.safe_files import load_json, remove_partial, write_whole, written_whole

VERSION = 1
MANIFEST = 'manifest.json'
#: Arrays of more numbers lie in the shard's ``.npz``, others as lists in its ``.json``.
MOST_LISTED = 256
#: What a cache must share with whoever reads or goes on with it, and how a message calls it.
IDENTITY = {
    'trunk': 'another trunk',
    'preprocessing': 'other preprocessing',
    'dataset': 'another data set',
    'samples': 'another number of images',
    'views': 'another number of views',
    'seed': 'another seed of the views',
    'shape': 'another size of features',
    'dtype': 'another precision',
    'shard': 'shards of another size',
}


@dataclass(frozen=True)
class CacheIdentity:
    """Whose features a cache holds.

    Attributes:
        trunk: fingerprint of the backbone's config and weights, see :func:`fingerprint`.
        preprocessing: fingerprint of the pipeline and the normalisation.
        dataset: fingerprint of the data set's settings.
        samples, views: how many; each sample has the same number of views.
        seed: of the views.
        shape: (D, h, w).
        dtype: ``float16`` or ``float32``.
        shard: samples in a shard.

    >>> CacheIdentity('a', 'b', 'c', samples=100, views=2, seed=0, shape=(384, 16, 16)).size_bytes
    39321600
    """

    trunk: str
    preprocessing: str
    dataset: str
    samples: int
    views: int
    seed: int
    shape: tuple[int, int, int]
    dtype: str = 'float16'
    shard: int = 256

    @property
    def size_bytes(self) -> int:
        """Of all features."""
        return self.samples * self.views * int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def shards(self) -> int:
        """How many."""
        return -(-self.samples // self.shard)

    def members(self, shard: int) -> range:
        """Samples of a shard."""
        return range(shard * self.shard, min((shard + 1) * self.shard, self.samples))


def fingerprint(settings: Any, weights: nn.Module | None = None) -> str:
    """Sixteen hexadecimal digits that change with a config's settings, and with the weights of a module.

    >>> fingerprint(dict(a=1, b=2)) == fingerprint(dict(b=2, a=1)) != fingerprint(dict(a=1))
    True
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    if weights is not None:
        for name, value in sorted(weights.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


class FeatureCache:
    """A folder of features.

    Args:
        folder: that has a manifest.

    Raises:
        FileNotFoundError: where there is none.
        ValueError: for a damaged manifest.

    >>> identity = CacheIdentity('a', 'b', 'c', samples=3, views=1, seed=0, shape=(2, 1, 1), shard=2)
    >>> cache = FeatureCache.create('features', identity)
    >>> cache.missing()
    [0, 1]
    >>> cache.write(1, np.ones((1, 1, 2, 1, 1), np.float32), [[dict(img_path='c.jpg')]])
    >>> cache.missing(), cache.features(2).flatten(), cache.fields(2)
    ([0], array([1., 1.], dtype=float16), {'img_path': 'c.jpg'})
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file():
            raise FileNotFoundError(f'{folder} holds no cached features; tools/cache_features.py writes them')
        told = load_json(self.folder / MANIFEST, 'write the features again with tools/cache_features.py')
        try:
            self.identity = CacheIdentity(**{key: told[key] for key in IDENTITY})
            self.classes = None if told['classes'] is None else tuple(told['classes'])
            self.grid: dict | None = told['grid']
            if told['version'] != VERSION:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f'{self.folder / MANIFEST} is no manifest of this version; write the features again into a new folder'
            ) from None
        self._opened = lru_cache(maxsize=64)(self._open)
        self._listed = lru_cache(maxsize=None)(self._read_fields)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        identity: CacheIdentity,
        classes: Sequence[str] | None = None,
        grid: dict | None = None,
    ) -> FeatureCache:
        """Begin a cache, or go on with one of the same identity.

        Raises:
            ValueError: where the folder holds other features; nothing is overwritten. Or where the disk is too small.
        """
        path = Path(folder) / MANIFEST
        if path.is_file():
            cache = cls(folder)
            cache.check(**asdict(identity))
            return cache
        free = shutil.disk_usage(_existing(Path(folder))).free
        if identity.size_bytes > free:
            raise ValueError(
                f'{folder}: the features take {in_words(identity.size_bytes)}, and its disk has {in_words(free)} left; '
                'take fewer views or another disk'
            )
        manifest = dict(asdict(identity), version=VERSION, classes=classes and list(classes), grid=grid)
        write_whole(path, json.dumps(manifest, indent=1))
        return cls(folder)

    def check(self, **wanted: Any) -> None:
        """Refuse a cache that differs in something.

        Args:
            **wanted: any of :data:`IDENTITY`; None is not compared.

        Raises:
            ValueError: naming the first difference.
        """
        for key, value in wanted.items():
            have = getattr(self.identity, key)
            same = tuple(have) == tuple(value) if isinstance(value, tuple | list) else have == value
            if value is not None and not same:
                raise ValueError(
                    f'{self.folder} holds features of {IDENTITY[key]} ({key} {have}, wanted {value}); nothing was '
                    'overwritten: name another folder, or remove this one'
                )

    def missing(self) -> list[int]:
        """Shards that are not there yet."""
        return [i for i in range(self.identity.shards) if not self._path(i, 'json').is_file()]

    def write(self, shard: int, features: np.ndarray, fields: Sequence[Sequence[dict]]) -> None:
        """Write a shard.

        Args:
            shard: its number.
            features: (n, V, D, h, w) of its samples and views.
            fields: of each sample and view: what else a reader is given, arrays, numbers and text.

        Raises:
            ValueError: for features that half precision cannot hold.
        """
        remove_partial(self.folder)
        with np.errstate(over='ignore'):
            stored = features.astype(self.identity.dtype)
        if not np.isfinite(stored).all():
            top = np.abs(features[np.isfinite(features)]).max(initial=0)
            raise ValueError(
                f'{self.folder}: {self.identity.dtype} cannot hold features up to {top:.3g}, or some are not finite; '
                'use --precision float32'
            )
        with written_whole(self._path(shard, 'npy')) as part, open(part, 'wb') as file:
            np.save(file, stored)
        arrays: dict[str, np.ndarray] = {}
        listed = [[_listed(one, f'{i}/{v}', arrays) for v, one in enumerate(views)] for i, views in enumerate(fields)]
        if arrays:
            with written_whole(self._path(shard, 'npz')) as part, open(part, 'wb') as file:
                np.savez_compressed(file, **arrays)
        write_whole(self._path(shard, 'json'), json.dumps(listed))

    def require_all(self) -> None:
        """Refuse a cache that is not finished, or has lost bytes.

        Raises:
            ValueError: naming what is missing.
        """
        missing = self.missing()
        if missing:
            raise ValueError(
                f'{self.folder}: {len(missing)} of {self.identity.shards} shards are missing; start '
                'tools/cache_features.py again, finished ones are kept'
            )
        for shard in range(self.identity.shards):
            self._check_size(shard)

    def features(self, sample: int, view: int = 0) -> np.ndarray:
        """(D, h, w) of a view of a sample, as it is stored."""
        shard, at = divmod(sample, self.identity.shard)
        return np.array(self._opened(shard)[at, view])

    def fields(self, sample: int, view: int = 0) -> dict[str, Any]:
        """What else a view of a sample holds."""
        shard, at = divmod(sample, self.identity.shard)
        found = dict(self._listed(shard)[at][view])
        for key, value in found.items():
            if isinstance(value, dict) and 'file' in value:
                with np.load(self._path(shard, 'npz'), allow_pickle=False) as arrays:
                    found[key] = arrays[value['file']]
            elif isinstance(value, dict):
                found[key] = np.array(value['values'], dtype=value['dtype']).reshape(value['shape'])
        return found

    def _path(self, shard: int, kind: str) -> Path:
        return self.folder / f'{shard:05d}.{kind}'

    def _check_size(self, shard: int) -> None:
        path, count = self._path(shard, 'npy'), len(self.identity.members(shard))
        whole = self.identity.size_bytes // self.identity.samples * count
        size = path.stat().st_size if path.is_file() else 0
        if size != whole + _header(path):
            raise ValueError(
                f'{path} has {size} bytes, and {count} samples take {whole} and a header: it was cut; remove it and '
                f'{self._path(shard, "json").name}, and start tools/cache_features.py again'
            )

    def _open(self, shard: int) -> np.ndarray:
        self._check_size(shard)
        return np.load(self._path(shard, 'npy'), mmap_mode='r', allow_pickle=False)

    def _read_fields(self, shard: int) -> list:
        return json.loads(self._path(shard, 'json').read_text())

    def __getstate__(self) -> dict:
        return {'folder': self.folder}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state['folder'])  # type: ignore[misc]


def _header(path: Path) -> int:
    """Bytes before the numbers of an npy file; those of an empty one where it is none."""
    try:
        with open(path, 'rb') as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            return file.tell()
    except (OSError, ValueError):
        return 128


def in_words(size: float) -> str:
    """A number of bytes for people.

    >>> in_words(39321600)
    '39.3 MB'
    """
    for unit in ('bytes', 'kB', 'MB', 'GB'):
        if size < 1000:
            return f'{size:.3g} {unit}'
        size /= 1000
    return f'{size:.3g} TB'


def sample_fields(sample: Any) -> dict[str, Any]:
    """What a packed DataSample holds, as arrays, numbers and text; what is none of these is left out."""
    found = {}
    for key, value in [*sample.metainfo_items(), *sample.items()]:
        if isinstance(value, Tensor):
            found[key] = value.cpu().numpy()
        elif isinstance(value, np.ndarray | np.generic | str | int | float | bool | tuple | list):
            found[key] = value
    return found


def _listed(fields: dict[str, Any], name: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Fields as JSON holds them; large arrays go to ``arrays``."""
    found = {}
    for key, value in fields.items():
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, np.ndarray) and value.size > MOST_LISTED:
            arrays[f'{name}/{key}'] = value
            value = {'file': f'{name}/{key}'}
        elif isinstance(value, np.ndarray):
            value = {'values': value.tolist(), 'dtype': str(value.dtype), 'shape': value.shape}
        elif isinstance(value, tuple | list):
            value = [item.item() if isinstance(item, np.generic) else item for item in value]
        found[key] = value
    return found


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def union_of_grids(caches: Iterable[FeatureCache]) -> list[dict]:
    """The grids of several splits, one for each size of map."""
    found = {tuple(cache.grid['map']): cache.grid for cache in caches if cache.grid}
    return list(found.values())
