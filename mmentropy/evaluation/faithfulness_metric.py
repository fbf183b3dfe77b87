# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Is the model's class map faithful? Figures that need no boxes, and two that read them, in ``tools/test.py``."""

from __future__ import annotations

from mmentropy import _needs_hosts  # noqa: F401  quiets mmpretrain before it is imported

# isort: split
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmentropy.ops.faithfulness.agreement import energy_share, pointing_hit
from mmentropy.ops.faithfulness.figures import FIGURES, check_figures, faithfulness_figures
from mmentropy.ops.faithfulness.inference_copy import inference_copy
from mmentropy.ops.faithfulness.scoring import constant_maps
from mmentropy.ops.mapping.geometry import HALF_PIXEL, MapGrid
from mmentropy.ops.mapping.scaling import NORMALIZATIONS, draw_maps, normalize_map
from mmentropy.registry import METRICS
from mmentropy.structures import GT_MASK, MAP_GRID

from .counting import UNIT, CountingMetric, Counts, fixed
from .samples import Case, name_of

#: Figures that cost some forward passes an image and need no truth: the default.
USUAL = ('average_drop', 'increase', 'deletion', 'insertion', 'road', 'adcc')
#: Whose map is judged.
TARGETS = ('predicted', 'label')


@METRICS.register_module()
class FaithfulnessMetric(CountingMetric):
    """Means over the images of figures of :data:`mmentropy.ops.faithfulness.figures.FIGURES`.

    Each map is drawn over the network's input, brought to [0, 1], and the model is asked about images that are altered
    by it. An image whose map is constant (without a positive value, for ``max``) has no curves: it is left out of
    ``deletion``, ``insertion`` and ``road``, and counted in ``constant_maps``. ``pointing`` is the mean over the
    classes of their shares of hits; ``energy`` leaves out maps without a positive value. Both read ``gt_mask`` where
    there is one, else ``gt_bboxes``.

    The model is handed over by :class:`mmentropy.engine.MetricModelHook`, which the tools add to every run.

    Args:
        metrics: names of the figures.
        target: whose map is judged: that of the ``predicted`` class, or of the ``label``.
        normalize: how maps are brought to [0, 1]: ``max`` cuts negative evidence, ``minmax`` keeps it.
        tolerance: of the pointing game, in pixels of the image.
        seed: of noise and of other classes, together with the image's number or path: figures do not depend on batches
            and processes.
        options: of :func:`~mmentropy.ops.faithfulness.figures.faithfulness_figures` (``steps``, ``deletion_baseline``,
            ``insertion_baseline``, ``road_fractions``, ``sensitivity``, ``batch_size`` …).
        grid: ``sample`` draws maps where the model says that their locations look (``map_grid``); ``half_pixel`` as
            ``cv2.resize`` does whatever it says, for comparison with published figures.

    >>> class Model:  # reads the first pixel
    ...     def data_preprocessor(self, data, training):
    ...         return data
    ...     def __call__(self, images):
    ...         return torch.stack([images[:, 0, 0, 0], 0 * images[:, 0, 0, 0]], 1)
    >>> metric = FaithfulnessMetric(['average_drop', 'sparseness'])
    >>> metric.use_model(Model())
    >>> sample = {'sample_id': 0, 'pred_label': [0], 'cams': [[[1.0, 0.0], [0.0, 0.0]]], 'cam_labels': [0]}
    >>> metric.process({'inputs': torch.full((1, 3, 2, 2), 9.0)}, [sample])
    >>> metric.evaluate(size=1)
    {'wsol/average_drop': 0.0, 'wsol/sparseness': 75.0, 'wsol/constant_maps': 0}
    """

    def __init__(
        self,
        metrics: Sequence[str] = USUAL,
        target: str = 'predicted',
        normalize: str = 'max',
        tolerance: float = 0,
        seed: int = 0,
        options: dict[str, Any] | None = None,
        grid: str = 'sample',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, grid=grid)
        if target not in TARGETS:
            raise ValueError(f'target must be one of {", ".join(TARGETS)}, got {target!r}')
        if normalize not in NORMALIZATIONS:
            raise ValueError(f'normalize must be one of {", ".join(NORMALIZATIONS)}, got {normalize!r}')
        self.metrics = check_figures(metrics)
        self.asking = tuple(name for name in self.metrics if not FIGURES[name].truth)
        self.target, self.normalize, self.tolerance, self.seed = target, normalize, tolerance, seed
        self.options = dict(options or {})
        self.model: Any = None
        self._faster: Any = None
        # Of the sample that is counted next.
        self._asked: dict[str, float] = {}
        self._constant = False

    def use_model(self, model: Any) -> None:
        """The model that is asked; called before each evaluation."""
        self.model, self._faster = model, None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Ask the model about a batch, and count."""
        cases = [Case(sample, type(self).__name__, self.grid) for sample in data_samples]
        found = self._ask(data_batch, cases) if self.asking else {}
        for row, sample in enumerate(data_samples):
            self._asked = {name: float(values[row]) for name, values in found.items()}
            self._constant = bool(self._asked.pop('constant', False))
            super().process(None, [sample])

    def count_case(self, case: Case) -> Counts:
        """Sums and numbers of images of each figure."""
        counts = {'images': np.array(1), 'constant': np.array(int(self._constant))}
        for name, value in self._asked.items():
            if np.isfinite(value):
                counts |= {name: fixed(value), f'{name}_images': np.array(1)}
        label = self._class_of(case)
        if len(self.asking) < len(self.metrics):
            counts |= self._agreement(case, label)
        return counts

    def figures(self, totals: Counts) -> dict[str, float]:
        """Means, in the figures' units."""
        results: dict[str, float] = {}
        for name in self.metrics:
            if name == 'pointing':
                shares = [value[0] / value[1] for key, value in sorted(totals.items()) if key.startswith('pointing_')]
                results[name] = 100 * float(np.mean(shares))
            elif name in totals:
                results[name] = FIGURES[name].factor * float(totals[name] / UNIT / totals[f'{name}_images'])
        return results | {'constant_maps': int(totals['constant'])}

    def _ask(self, data_batch: Any, cases: list[Case]) -> dict[str, Tensor]:
        if self.model is None:
            raise ValueError(
                'FaithfulnessMetric asks the model, and nobody gave it one: run it by tools/test.py, or add '
                "custom_hooks=[dict(type='mmentropy.MetricModelHook')] to the config"
            )
        images = self.model.data_preprocessor(data_batch, False)['inputs'].float()
        classes = [self._class_of(case) for case in cases]
        maps = [case.class_map(label) for case, label in zip(cases, classes)]
        grids = [case.sample.get(MAP_GRID) for case in cases]
        drawn = self._drawn(maps, grids, images)
        self._faster = self._faster or inference_copy(self.model, images[:2])
        found = faithfulness_figures(
            self.model,
            images,
            drawn,
            torch.tensor(classes, device=images.device),
            self.asking,
            explain=self._explain,
            seeds=[zlib.crc32(f'{self.seed} {name_of(case.sample)}'.encode()) for case in cases],
            faster=self._faster,
            **self.options,
        )
        return found | {'constant': constant_maps(drawn)}

    def _drawn(self, maps: Sequence[np.ndarray], grids: Sequence[MapGrid | None], images: Tensor) -> Tensor:
        """(N, H, W) in [0, 1] over the network's inputs, in whose pixels a ``map_grid`` is."""
        size = (images.shape[2], images.shape[3])
        drawn = [
            draw_maps(np.asarray(cam, np.float32), size, HALF_PIXEL if self.grid == 'half_pixel' else grid)
            for cam, grid in zip(maps, grids)
        ]
        return torch.from_numpy(np.stack([normalize_map(cam, self.normalize) for cam in drawn])).to(images.device)

    def _explain(self, images: Tensor, classes: Tensor) -> Tensor:
        """Maps of other images or classes, as the model's predictions carry them."""
        asked = [DataSample().set_gt_label(int(label)) for label in classes]
        with torch.no_grad():
            found = self.model.predict(images, asked)
        cases = [Case(sample.to_dict(), type(self).__name__, self.grid) for sample in found]
        maps = [case.class_map(int(label)) for case, label in zip(cases, classes)]
        return self._drawn(maps, [case.sample.get(MAP_GRID) for case in cases], images)

    def _class_of(self, case: Case) -> int:
        if self.target == 'label':
            return case.label
        if case.predicted is None:
            raise KeyError(f"{case.name} has no prediction, whose map FaithfulnessMetric judges; or set target='label'")
        return case.predicted

    def _agreement(self, case: Case, label: int) -> Counts:
        """Pointing by class, and energy: maps are drawn over the original image, where boxes and masks are."""
        mask = case.mask if case.has(GT_MASK) else None
        truth = dict(mask=mask, boxes=None if mask is not None else case.boxes)
        cam = case.drawn_map(label, 'cam', case.size if mask is None else mask.shape)
        counts: Counts = {}
        if 'pointing' in self.metrics:
            hit = pointing_hit(cam, tolerance=self.tolerance, **truth)
            counts[f'pointing_{label}'] = np.array([int(hit), 1])
        share = energy_share(cam, **truth) if 'energy' in self.metrics else None
        if share is not None:
            counts |= {'energy': fixed(share), 'energy_images': np.array(1)}
        return counts
