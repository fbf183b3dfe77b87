# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Reading of npy, npz and JSON files that anybody may have written or damaged: values, or one sentence with the path.

numpy, zipfile and json raise some twenty kinds of exceptions on damaged files, ``tokenize.TokenError``, ``zlib.error``
and ``RecursionError`` among them. Nothing is executed: pickled objects are refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def load_arrays(path: str | Path) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a ``.npy`` file, or name → array of a ``.npz`` file, whatever the file is called.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is neither, is cut off or damaged, or holds Python objects.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist')
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except Exception as error:
        raise ValueError(f'{path} cannot be read ({type(error).__name__}: {error}); write it again') from None
    strangers = [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]
    if strangers:  # members of the archive that are no .npy come as bytes
        raise ValueError(f'{path} cannot be read ({strangers[0]!r} in it is no array); write it again')
    return arrays


def load_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Name → array of a ``.npz`` file; raises as :func:`load_arrays`, also for a single ``.npy`` array."""
    arrays = load_arrays(path)
    if not isinstance(arrays, dict):
        raise ValueError(f'{path} holds one array, expected an npz of several')
    return arrays


def load_json(path: str | Path, hint: str = 'remove it to do that step again') -> dict[str, Any]:
    """The object of a JSON file.

    Args:
        path: of the file.
        hint: what to do about a damaged one, the end of the error's sentence.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no JSON, or another value than an object.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist')
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is not JSON ({error}); {hint}') from None
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a JSON {type(content).__name__}, expected an object; {hint}')
    return content
