# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The file of class embeddings: names, vectors, and what made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmentropy.ops.mapping.prototypes import pick_classes
from mmentropy.safe_files import written_whole


@dataclass(frozen=True)
class ClassEmbeddings:
    """Embeddings of class names, as ``tools/embed_classes.py`` writes them.

    Attributes:
        classes: C names.
        vectors: (C, D) float32.
        scale: of the logits, CLIP's exp(logit scale).
        made_by: the model and its templates, for the reader.
        path: where they were read.

    >>> ClassEmbeddings(('cat', 'dog'), np.eye(2, dtype=np.float32)).only(['dog']).vectors
    array([[0., 1.]], dtype=float32)
    """

    classes: tuple[str, ...]
    vectors: np.ndarray
    scale: float = 100.0
    made_by: str = ''
    path: str = 'the embeddings'

    @classmethod
    def read(cls, path: str | Path) -> ClassEmbeddings:
        """Read a file.

        Raises:
            FileNotFoundError: when there is none.
            ValueError: when it is damaged, or another kind of file.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f'{path}: no such file of class embeddings; tools/embed_classes.py writes one')
        try:
            with np.load(path, allow_pickle=False) as file:
                names, vectors = file['classes'], file['embeddings']
                scale, made_by = float(file['scale']), str(file['made_by'])
        except Exception as error:  # zip, header and keys each fail in their own way
            raise ValueError(
                f'{path}: this is no file of class embeddings, or a truncated one ({type(error).__name__}); write it '
                'with tools/embed_classes.py'
            ) from None
        if vectors.ndim != 2 or len(vectors) != len(names) or not np.isfinite(vectors).all():
            raise ValueError(f'{path}: {len(names)} classes do not fit embeddings of the shape {vectors.shape}')
        return cls(tuple(str(name) for name in names), vectors.astype(np.float32), scale, made_by, str(path))

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with written_whole(Path(path)) as part, open(part, 'wb') as file:
            np.savez(
                file,
                classes=np.array(self.classes),
                embeddings=self.vectors.astype(np.float32),
                scale=np.float64(self.scale),
                made_by=np.array(self.made_by),
            )

    def only(self, classes: Sequence[str]) -> ClassEmbeddings:
        """Those of some classes, in their order; a KeyError names what is missing."""
        places = pick_classes(self.classes, classes, self.path)
        return replace(self, classes=tuple(classes), vectors=self.vectors[places])

    def check(self, num_classes: int | None, channels: int | None) -> None:
        """Refuse another number of classes or channels than a model's.

        Raises:
            ValueError: naming both.
        """
        have = self.vectors.shape
        if channels not in (None, have[1]):
            raise ValueError(
                f'{self.path}: its embeddings have {have[1]} numbers each, but the trunk gives {channels} channels; '
                'embed the classes with the text tower of the same model'
            )
        if num_classes not in (None, have[0]):
            raise ValueError(
                f'{self.path}: it has {have[0]} classes, but the data set has {num_classes}; name them in classes='
            )
