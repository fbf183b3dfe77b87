# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What a file holds, as a short text; sizes and times only spare reading a file again that nobody has touched."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmentropy.safe_files import load_json, write_whole

#: Digest of a file that is not there.
MISSING = 'missing'
#: A file that was touched less than so many seconds ago may change once more without its times saying so.
RACY = 2.0


def digest(path: Path) -> str:
    """Hash of a file's content, 24 hexadecimal digits.

    >>> _ = Path('a.txt').write_text('a')
    >>> digest(Path('a.txt'))
    '1ba3c523e770f3313cc91ab1'
    """
    blake = hashlib.blake2b(digest_size=12)
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            blake.update(chunk)
    return blake.hexdigest()


def digest_of(value: Any) -> str:
    """Hash of a JSON value; keys in any order, and what JSON has no form for as text.

    >>> digest_of({'a': 1, 'b': 2}) == digest_of({'b': 2, 'a': 1})
    True
    """
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()


class Digests:
    """Hashes of files, those of untouched files from memory or from a table on disk.

    A file counts as untouched while size, both times and inode are as they were when it was read. The table is a
    shortcut and nothing else: one that is damaged or gone costs reading the files again.

    Args:
        table: JSON file; None keeps the hashes in this process.

    >>> digests = Digests(Path('digests.json'))
    >>> _ = Path('a.txt').write_text('a')
    >>> digests.of(Path('a.txt')), digests.of(Path('b.txt'))
    ('1ba3c523e770f3313cc91ab1', 'missing')
    """

    def __init__(self, table: Path | None = None) -> None:
        self.table = table
        self._known: dict[str, list[Any]] = {}
        self._new = False
        if table is not None:
            try:
                stored = load_json(table)
            except (ValueError, OSError):
                stored = {}
            self._known = {name: row for name, row in stored.items() if isinstance(row, list) and len(row) == 5}

    def of(self, path: Path) -> str:
        """Hash of a file; ``missing`` if there is none."""
        try:
            stat = path.stat()
            stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
            name = str(path.absolute())
            row = self._known.get(name)
            if row is not None and row[:4] == stamp:
                return str(row[4])
            value = digest(path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return MISSING
        if time.time() - max(stat.st_mtime, stat.st_ctime) > RACY:
            self._known[name], self._new = [*stamp, value], True
        return value

    def of_any(self, evidence: Any) -> str:
        """Hash of a file's content, of a JSON value, or of a list of both.

        >>> Digests().of_any([Path('b.txt'), 3]) == digest_of(['missing', 3])
        True
        """
        return self.of(evidence) if isinstance(evidence, Path) else digest_of(self._read(evidence))

    def _read(self, value: Any) -> Any:
        """A value with the hash of each file in the file's place."""
        if isinstance(value, list | tuple):
            return [self._read(one) for one in value]
        return self.of(value) if isinstance(value, Path) else value

    def of_all(self, paths: Iterable[Path]) -> str:
        """One hash of many files, in their order; their names do not count."""
        return digest_of([self.of(path) for path in paths])

    def save(self) -> None:
        """Write the table down."""
        if self.table is not None and self._new:
            write_whole(self.table, json.dumps(self._known))
            self._new = False


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names that both have with other hashes, or that only one has.

    >>> differing({'a': '1', 'b': '2'}, {'b': '3', 'a': '1', 'c': '4'})
    ['b', 'c']
    """
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
