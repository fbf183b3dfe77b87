# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The file between a test and its report: one npz without pickled objects."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmentropy.safe_files import load_npz, write_whole

#: Fields of a sample that are arrays in the file, one for each sample that has it.
ARRAYS = ('boxes', 'cam', 'best_iou', 'entropy_map', 'grid', 'thumb')


@dataclass
class Sample:
    """One image of a report.

    Attributes:
        name: folder and file name.
        label, prediction: true and predicted class; −1 where there is none.
        score: of the prediction.
        entropy: of the prediction, nats.
        boxes: (n, 4) true boxes x0 y0 x1 y1 as shares of width and height.
        cam: (h, w) uint8 true class's map, min-max normalised.
        best_iou: (T,) best IoU of any of the map's boxes with any true one, at each threshold.
        thumb: JPEG; None for an image that is counted but not shown.
        entropy_map: (h, w) float16, nats.
        grid: (3, 2) where the locations of both maps look, :meth:`mmentropy.ops.mapping.geometry.MapGrid.to_array`;
            None where they tile the image.
    """

    name: str
    label: int = -1
    prediction: int = -1
    score: float = float('nan')
    entropy: float = float('nan')
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    cam: np.ndarray | None = None
    best_iou: np.ndarray | None = None
    thumb: bytes | None = None
    entropy_map: np.ndarray | None = None
    grid: np.ndarray | None = None


@dataclass
class ReportData:
    """All that a report shows.

    Attributes:
        samples: one an image of the split, in order.
        classes: names.
        metrics: result key -> value.
        config: the run's config as text.
        facts: further lines of the settings table.

    >>> ReportData([Sample('a.jpg', label=3, prediction=3)], metrics={'accuracy/top1': 100.0}).save('report.npz')
    >>> ReportData.load('report.npz').samples[0].label
    3
    """

    samples: list[Sample]
    classes: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    config: str = ''
    facts: dict[str, str] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the npz, through a temporary name."""
        path = Path(path)
        plain = [
            {'name': s.name, 'label': s.label, 'prediction': s.prediction, 'score': s.score, 'entropy': s.entropy}
            for s in self.samples
        ]
        head = {'classes': self.classes, 'metrics': self.metrics, 'config': self.config, 'facts': self.facts}
        arrays = {'head': np.frombuffer(json.dumps({**head, 'samples': plain}).encode(), np.uint8)}
        for i, sample in enumerate(self.samples):
            for key in ARRAYS[:-1]:
                value = getattr(sample, key)
                if value is not None and value.size:
                    arrays[f'{key}.{i}'] = _pack(value) if key == 'best_iou' else value
            if sample.thumb is not None:
                arrays[f'thumb.{i}'] = np.frombuffer(sample.thumb, np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> ReportData:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it is something else.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no data for a report; test the model with mmentropy.ReportHook first')
        try:
            arrays = load_npz(path)
            head = json.loads(arrays.pop('head').tobytes())
            samples = [Sample(**plain) for plain in head.pop('samples')]
            for key, value in arrays.items():
                kind, number = key.split('.')
                if kind not in ARRAYS:
                    raise KeyError(key)
                value = value.tobytes() if kind == 'thumb' else value / 1e4 if kind == 'best_iou' else value
                setattr(samples[int(number)], kind, value)
            return cls(samples, tuple(head['classes']), head['metrics'], head['config'], head['facts'])
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise ValueError(f'{path}: not the data of a report ({error})') from None


def _pack(iou: np.ndarray) -> np.ndarray:
    """IoU in ten-thousandths, rounded down: one below a threshold of whole per cent must not be rounded into a hit."""
    return np.floor(iou * 1e4 + 1e-6).astype(np.uint16)
