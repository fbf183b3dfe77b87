# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Other people's class maps: PSA and SEAM dicts, IRN dicts, SEC's cue pickles; reading them runs no code in them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmentropy.safe_files import multiarray

from .files import ImageMaps

_ARRAY_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')
#: Everything that a pickle may name: how numpy arrays and scalars are rebuilt, and harmless containers.
ALLOWED: dict[tuple[str, str], str] = {
    **{(module, name): name for module in _ARRAY_MODULES for name in ('_reconstruct', 'scalar')},
    **{(f'numpy.{core}.numeric', '_frombuffer'): '_frombuffer' for core in ('core', '_core')},
    ('numpy', 'ndarray'): 'ndarray',
    ('numpy', 'dtype'): 'dtype',
    ('_codecs', 'encode'): 'encode',
    ('collections', 'OrderedDict'): 'OrderedDict',
}


class UnsafePickleError(ValueError):
    """A pickle that names something which is not data."""


def _latin1(text: str, encoding: str = 'latin1') -> bytes:
    """What Python 2's byte strings in a protocol 0–2 pickle need, and nothing else of ``codecs.encode``."""
    if encoding != 'latin1':
        raise UnsafePickleError(f'the pickle asks for the text encoding {encoding!r}')
    return text.encode('latin1')


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise UnsafePickleError(f'{module}.{name}')
        if name == 'encode':
            return _latin1
        if name == '_frombuffer':
            return lambda buffer, dtype, shape, order: np.frombuffer(buffer, dtype).reshape(shape, order=order)
        if name == 'OrderedDict':
            return dict
        if name in ('_reconstruct', 'scalar'):
            return getattr(multiarray, name)
        return getattr(np, name)

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickleError(f'a persistent id {pid!r}')


def load_data_pickle(data: bytes, name: str) -> Any:
    """Unpickle numpy arrays, plain containers, strings and numbers; nothing else.

    Args:
        data: the pickle.
        name: of the file, for messages.

    Raises:
        UnsafePickleError: if the pickle names anything else, which could run code when loaded.
        ValueError: if it is not a pickle, or holds arrays of objects.
    """
    try:
        value = _DataUnpickler(io.BytesIO(data), encoding='latin1').load()
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f'{name}: refused, it names {error}, which is not an array, a container, a string or a number '
            'and could run code; only load such a file with the code that wrote it'
        ) from None
    except Exception as error:
        raise ValueError(f'{name}: not a pickle of arrays ({type(error).__name__}: {error})') from None
    return value


def load_npy(path: Path) -> Any:
    """The content of a ``.npy`` file, a pickled dict included, without running code.

    Raises:
        UnsafePickleError, ValueError: see :func:`load_data_pickle`.
        FileNotFoundError: if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    with open(path, 'rb') as file:
        try:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(file)
        except Exception as error:  # the header is Python source: TokenError, TypeError … besides ValueError
            raise ValueError(f'{path}: not a .npy file ({error})') from None
        if dtype.hasobject:
            value = load_data_pickle(file.read(), str(path))
            value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
            return _unwrap(value, str(path), shape)
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError) as error:
        raise ValueError(f'{path}: not a complete .npy file ({error})') from None


def _unwrap(value: Any, name: str, shape: tuple[int, ...]) -> Any:
    """``numpy.save`` wraps a dict in an array of objects of shape ()."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        if shape == () and value.size == 1:
            return value.reshape(-1)[0]
        raise ValueError(f'{name}: an array of {value.size} objects; expected one dict')
    return value


def _array(value: Any, name: str, what: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f'{name}: {what} is no array ({error})') from None


def _map(value: Any, name: str, what: str, ndim: int) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.ndim != ndim or value.dtype.kind not in 'fiub':
        kind = f'an array of shape {value.shape}' if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f'{name}: {what} is {kind}; expected {ndim} axes of numbers')
    value = value.astype(np.float32)
    if not np.isfinite(value).all():
        raise ValueError(f'{name}: {what} holds NaN or infinite values')
    return value


def read_psa(path: Path, num_classes: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """PSA, SEAM and EPS: ``<id>.npy``, a dict {class from 0: (H, W)}.

    Returns:
        (K,) labels and (K, H, W) float32 maps, by increasing label.
    """
    content = load_npy(path)
    if not isinstance(content, dict):
        raise ValueError(f'{path}: found {type(content).__name__}; PSA files hold a dict {{class: map}}')
    labels = []
    for key in content:
        if not isinstance(key, int | np.integer) or not 0 <= key < num_classes:
            raise ValueError(f'{path}: key {key!r} is not a class in 0–{num_classes - 1}')
        labels.append(int(key))
    labels = sorted(labels)
    maps = [_map(content[k], str(path), f'the map of class {k}', 2) for k in labels]
    if len({m.shape for m in maps}) > 1:
        raise ValueError(f'{path}: maps of different sizes {sorted({m.shape for m in maps})}')
    if not maps:
        raise ValueError(f'{path}: no map in the file; the image has no label')
    return np.array(labels, np.int64), np.stack(maps)


def read_irn(path: Path, num_classes: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """IRN: ``<id>.npy``, a dict with ``keys`` (K,) from 0 and ``high_res`` (K, H, W), or ``cam`` at stride 4."""
    content = load_npy(path)
    content_is = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
    name = 'cam' if not isinstance(content, dict) or content.get('high_res') is None else 'high_res'
    if not isinstance(content, dict) or 'keys' not in content or name not in content:
        raise ValueError(f"{path}: found {content_is}; IRN files hold 'keys' and 'high_res' or 'cam'")
    labels = _array(content['keys'], str(path), "'keys'")
    maps = _map(content[name], str(path), repr(name), 3)
    if labels.ndim != 1 or labels.dtype.kind not in 'iu' or len(labels) != len(maps):
        raise ValueError(f'{path}: {len(maps)} maps but keys of shape {labels.shape} and type {labels.dtype}')
    if len(labels) and not (labels.min() >= 0 and labels.max() < num_classes):
        raise ValueError(f'{path}: keys {labels.tolist()} are not classes in 0–{num_classes - 1}')
    if not len(labels):
        raise ValueError(f'{path}: no map in the file; the image has no label')
    return labels.astype(np.int64), maps


def read_sec(path: Path, num_classes: int = 21) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """SEC's one pickle for all images: ``<n>_labels`` (K,) classes from 1, ``<n>_cues`` (c, y, x) indices at 41².

    Returns:
        n → ((K,) labels from 0, (C, 41, 41) bool cues, background first).
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    content = load_data_pickle(path.read_bytes(), str(path))
    names = (
        sorted(k for k in content if isinstance(k, str) and k.endswith('_cues')) if isinstance(content, dict) else []
    )
    if not names:
        raise ValueError(f"{path}: no '<n>_cues' in the file; SEC pickles hold '<n>_labels' and '<n>_cues'")
    result = {}
    for name in names:
        number = name.removesuffix('_cues')
        if not (number.isascii() and number.isdigit()) or f'{number}_labels' not in content:
            raise ValueError(f"{path}: {name!r} has no '{number}_labels' beside it")
        index = _map(_array(content[name], str(path), repr(name)), str(path), repr(name), 2).astype(np.int64)
        limit = np.array([num_classes, 41, 41])[:, None]
        if len(index) != 3 or (index < 0).any() or (index >= limit).any():
            raise ValueError(f'{path}: {name!r} holds (c, y, x) outside {num_classes} classes and 41 × 41 places')
        cues = np.zeros((num_classes, 41, 41), bool)
        cues[tuple(index)] = True
        labels = _array(content[f'{number}_labels'], str(path), f"'{number}_labels'")
        if labels.dtype.kind not in 'iufb' or not ((labels >= 0) & (labels < num_classes)).all():
            raise ValueError(f"{path}: '{number}_labels' holds other values than classes in 0–{num_classes - 1}")
        labels = labels.astype(np.int64).ravel()
        # Some releases list the background among the labels.
        result[int(number)] = np.unique(labels[labels > 0]) - 1, cues
    return result


#: Name of a one-file-per-image format → reader.
FORMATS: dict[str, Callable[[Path, int], tuple[np.ndarray, np.ndarray]]] = {'psa': read_psa, 'irn': read_irn}


def read_foreign(path: Path, file_format: str, size: tuple[int, int], num_classes: int = 20) -> ImageMaps:
    """One image's foreign maps in our form.

    Args:
        path: the file.
        file_format: ``psa`` (also SEAM, EPS) or ``irn``.
        size: (height, width) of the image; maps must have it, or its quarter, rounded up, as IRN's low-resolution ones.
        num_classes: without background.

    Raises:
        ValueError: for wrong keys, a class out of range, or maps of another size.
    """
    if file_format not in FORMATS:
        raise ValueError(f'file_format must be one of {sorted(FORMATS)}, got {file_format!r}')
    labels, maps = FORMATS[file_format](path, num_classes)
    quarter = (-(-size[0] // 4), -(-size[1] // 4))
    if maps.shape[1:] not in (tuple(size), quarter):
        raise ValueError(f'{path}: the maps have size {maps.shape[1:]}, the image {tuple(size)}')
    return ImageMaps(labels, maps, tuple(size))
