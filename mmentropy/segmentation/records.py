# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a stage has written down about itself: checked before it is believed."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from mmentropy.safe_files import load_json, write_whole

MARK = 'stage.json'
HINT = 'remove it, and its stage is checked again'
_DIGEST = re.compile(r'[0-9a-z]{1,64}')


@dataclass
class StageRecord:
    """``stage.json`` of a stage's folder.

    Attributes:
        hash: of the settings, its own and of everything upstream; empty where nothing was begun.
        depends: what the stage as a whole is made from → hash of the content.
        images: image → hash of what its output is made from.
        files: output, as a path inside the folder, → hash; empty until the stage has finished.
        failures: image → why it could not be done.
        measured: hash of the truth that the figures were measured on.
        stage, settings, inputs, seconds, version, result: what the manifest tells.

    >>> record = StageRecord(hash='ab', files={'a.npz': 'cd'})
    >>> record.save(Path('maps'))
    >>> StageRecord.load(Path('maps')).files
    {'a.npz': 'cd'}
    """

    hash: str = ''
    depends: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    measured: str = ''
    stage: str = ''
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    seconds: float = 0.0
    version: str = ''
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether the stage came to its end, whatever has become of its files since."""
        return bool(self.files)

    @classmethod
    def load(cls, folder: Path) -> StageRecord:
        """The record of a stage's folder; an empty one if there is none.

        Raises:
            ValueError: if it is no record, or names a file outside of its folder.
        """
        path = folder / MARK
        if not path.is_file():
            return cls()
        content = load_json(path, HINT)
        known = {one.name for one in fields(cls)}
        record = cls(**{name: value for name, value in content.items() if name in known})
        try:
            record.check()
        except ValueError as error:
            raise ValueError(f'{path} is no record of a stage: {error}; {HINT}') from None
        return record

    def check(self) -> None:
        """ValueError if a field holds something else than its kind, or ``files`` leaves the folder."""
        for name, kind in (('hash', str), ('measured', str), ('stage', str), ('version', str), ('inputs', list)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f'{name!r} is {_kind(getattr(self, name))}, expected {_kind(kind())}')
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, int | float):
            raise ValueError(f"'seconds' is {_kind(self.seconds)}, expected a number")
        if not all(isinstance(needed, str) for needed in self.inputs):
            raise ValueError("'inputs' holds something else than names of stages")
        for name in ('depends', 'images', 'files', 'failures', 'settings', 'result'):
            table = getattr(self, name)
            if not isinstance(table, dict):
                raise ValueError(f'{name!r} is {_kind(table)}, expected an object')
        for name in ('depends', 'images', 'files'):
            for key, value in getattr(self, name).items():
                if not isinstance(value, str) or not _DIGEST.fullmatch(value):
                    raise ValueError(f'{name!r} has {value!r} for {key!r}, expected a hash')
        for name, text in self.failures.items():
            if not isinstance(text, str):
                raise ValueError(f"'failures' has {_kind(text)} for {name!r}, expected a sentence")
        for name in self.files:
            check_inside(name)

    def save(self, folder: Path) -> None:
        """Write it whole, readable."""
        write_json(folder / MARK, asdict(self))


def check_inside(name: str) -> None:
    """ValueError unless a name from a record is a plain path inside of the record's folder.

    >>> check_inside('../canary.txt')
    Traceback (most recent call last):
    ValueError: the name '../canary.txt' does not stay inside the folder
    """
    path = PurePosixPath(name)
    if (
        name in ('', '.')
        or '\0' in name
        or '\\' in name
        or path.is_absolute()
        or '..' in path.parts
        or str(path) != name
    ):
        raise ValueError(f'the name {name!r} does not stay inside the folder')


def _kind(value: Any) -> str:
    names = {dict: 'an object', list: 'a list', str: 'text', bool: 'true or false', type(None): 'null'}
    return names.get(type(value), 'a number')


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is no such file.

    Raises:
        ValueError: if it cannot be read.
    """
    return load_json(path, HINT) if path.is_file() else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write it whole, readable."""
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False).encode())
