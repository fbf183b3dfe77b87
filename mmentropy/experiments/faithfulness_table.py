# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Map methods × figures of faithfulness on the images of a data set: rows that resume, a table, and a picture."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import zlib
from ast import literal_eval
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmentropy.engine.model_loading import LoadedModel
from mmentropy.explain import METHODS, Explainer, build_explainer
from mmentropy.ops.faithfulness.agreement import energy_share, pointing_hit
from mmentropy.ops.faithfulness.figures import FIGURES, check_figures, faithfulness_figures
from mmentropy.ops.faithfulness.inference_copy import inference_copy
from mmentropy.ops.faithfulness.scoring import Model, image_scores
from mmentropy.ops.mapping.scaling import draw_maps, normalize_map
from mmentropy.safe_files import write_whole, written_whole

from .analysis import Photo

#: Half of a 95 % interval, in standard errors.
HALF_WIDTH = 1.96


def parse_method(text: str) -> tuple[str, dict[str, Any]]:
    """A method of the command line: a name of :data:`mmentropy.explain.METHODS`, options behind a colon.

    Raises:
        ValueError: for an unknown name, or options that are not ``key=value``.

    >>> parse_method('cam'), parse_method('cam:grid=half_pixel,scales=(1, 2)')
    (('cam', {}), ('cam', {'grid': 'half_pixel', 'scales': (1, 2)}))
    """
    name, _, rest = text.partition(':')
    if name not in METHODS:
        raise ValueError(f'{text!r}: the method {name!r} is none of {", ".join(METHODS)}')
    options: dict[str, Any] = {}
    # A comma inside brackets belongs to a value.
    parts, depth = [''], 0
    for letter in rest:
        depth += (letter in '([{') - (letter in ')]}')
        if letter == ',' and not depth:
            parts.append('')
        else:
            parts[-1] += letter
    for part in parts if rest else []:
        key, given, value = part.partition('=')
        if not given or not key.strip().isidentifier():
            raise ValueError(f'{text!r}: options are written key=value, got {part!r}')
        try:
            options[key.strip()] = literal_eval(value.strip())
        except (ValueError, SyntaxError):
            options[key.strip()] = value.strip()
    return name, options


def method_explainer(text: str, model: nn.Module) -> Explainer:
    """The explainer of a method of the command line, with what the model declares for it.

    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> method_explainer('cam:grid=half_pixel', nn.Sequential(*layers)).grid.kind
    'half_pixel'
    """
    name, options = parse_method(text)
    declared = getattr(model, 'method_options', None)  # of a LocalizationClassifier
    try:
        return build_explainer(name, model, **{**(declared(name) if declared else {}), **options})
    except TypeError as error:
        raise ValueError(f'{text!r}: {error}') from None


@dataclass(frozen=True)
class Judgement:
    """What is asked of each image.

    Attributes:
        metrics: names of :data:`mmentropy.ops.faithfulness.figures.FIGURES`.
        target: the class whose map is judged: ``predicted`` or ``label``.
        normalize: how maps are brought to [0, 1]: ``max`` or ``minmax``.
        tolerance: of the pointing game, in pixels of the image.
        seed: of noise and other classes.
        options: of :func:`~mmentropy.ops.faithfulness.figures.faithfulness_figures`.
    """

    metrics: tuple[str, ...] = ('average_drop', 'increase', 'deletion', 'insertion', 'road', 'adcc')
    target: str = 'predicted'
    normalize: str = 'max'
    tolerance: float = 0
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_figures(self.metrics)
        if self.target not in ('predicted', 'label'):
            raise ValueError(f'target must be predicted or label, got {self.target!r}')


class Truth(NamedTuple):
    """An image's name, its size, and its object where that is known."""

    name: str
    label: int
    size: tuple[int, int]
    boxes: np.ndarray | None = None
    mask: np.ndarray | None = None


def judge(
    explainer: Explainer,
    inputs: Tensor,
    truths: Sequence[Truth],
    judgement: Judgement,
    faster: Model | None = None,
) -> list[dict[str, float | None]]:
    """Figures of the maps of a batch of network inputs, as shares; None where an image has none.

    Args:
        explainer: of the model that is asked.
        inputs: (N, 3, h, w), each the whole image.
        truths: of the N images.
        judgement: what is asked.
        faster: a copy of the model that is faster to ask.
    """
    model, size = explainer.model, (inputs.shape[2], inputs.shape[3])
    score = 'probability' if explainer.score == 'softmax' else 'sigmoid'
    labels = torch.tensor([truth.label for truth in truths], device=inputs.device)
    classes = labels if judgement.target == 'label' else image_scores(model, inputs, None, score)[1]

    def raw(images: Tensor, wanted: Tensor) -> tuple[np.ndarray, Any]:
        found = explainer(images, wanted[:, None])
        return found.maps[:, 0].float().cpu().numpy(), found.grid

    def drawn(maps: np.ndarray, grid: Any) -> Tensor:
        unit = normalize_map(draw_maps(maps, size, grid), judgement.normalize)
        return torch.from_numpy(unit).to(inputs.device)

    maps, grid = raw(inputs, classes)
    asked = [name for name in judgement.metrics if not FIGURES[name].truth]
    found: dict[str, Tensor] = {}
    if asked:
        seeds = [zlib.crc32(f'{judgement.seed} {truth.name}'.encode()) for truth in truths]
        found = faithfulness_figures(
            model,
            inputs,
            drawn(maps, grid),
            classes,
            asked,
            explain=lambda images, wanted: drawn(*raw(images, wanted)),
            seeds=seeds,
            score=score,
            faster=faster,
            **judgement.options,
        )
    rows = []
    for i, truth in enumerate(truths):
        values: dict[str, float | None] = {name: float(value[i]) for name, value in found.items()}
        values |= _agreement(maps[i], grid, truth, judgement)
        rows.append({name: _number(values[name]) for name in judgement.metrics})
    return rows


def _agreement(cam: np.ndarray, grid: Any, truth: Truth, judgement: Judgement) -> dict[str, float | None]:
    """Pointing and energy, over the image at its own size."""
    wanted = [name for name in judgement.metrics if FIGURES[name].truth]
    if not wanted:
        return {}
    if truth.mask is None and (truth.boxes is None or not len(truth.boxes)):
        raise ValueError(f'{truth.name} has neither boxes nor a mask, which {wanted[0]} compares maps with')
    where = dict(boxes=truth.boxes, mask=truth.mask)
    over = draw_maps(cam, truth.size, None if grid is None else grid.before_resize(truth.size))
    found: dict[str, float | None] = {}
    if 'pointing' in wanted:
        found['pointing'] = float(pointing_hit(over, tolerance=judgement.tolerance, **where))
    if 'energy' in wanted:
        found['energy'] = energy_share(over, **where)
    return found


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 7)


def photo_batches(
    loaded: LoadedModel, items: Iterable[Photo], batch_size: int
) -> Iterable[tuple[list[Truth], Callable[[], Tensor]]]:
    """The images of a data set in batches of one input size, in order of appearance; inputs are made when asked for."""
    waiting: dict[tuple[int, int], list[Photo]] = {}

    def packed(group: list[Photo]) -> tuple[list[Truth], Callable[[], Tensor]]:
        truths = [
            Truth(photo.name, int(photo.labels[0]) if len(photo.labels) else -1, photo.image.shape[:2], photo.boxes)
            for photo in group
        ]
        return truths, lambda: loaded.inputs([photo.image for photo in group])

    for photo in items:
        group = waiting.setdefault(loaded.input_size(photo.image.shape[:2]), [])
        group.append(photo)
        if len(group) == batch_size:
            yield packed(group)
            waiting[loaded.input_size(photo.image.shape[:2])] = []
    for group in waiting.values():
        if group:
            yield packed(group)


class Rows:
    """Figures of single images in a folder, a line each: a run that was stopped goes on, and several share one folder.

    Args:
        folder: where they lie; created.
        settings: what decides the figures, beside method and image; None to read what is there, whatever it is.
        part: (k, n): this process writes every n-th batch from the k-th on, k from 0.

    Raises:
        ValueError: for a folder with rows of other settings.

    >>> Rows('rows', dict(steps=10)).folder.is_dir()
    True
    """

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any] | None = None, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.folder, self.part = Path(folder), part
        if settings is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / 'settings.json'
        given = json.loads(json.dumps(settings, default=str))
        if file.is_file():
            before = json.loads(file.read_text())
            other = [key for key in given.keys() | before.keys() if given.get(key) != before.get(key)]
            if other:
                key = sorted(other)[0]
                raise ValueError(
                    f'{folder} holds figures of other settings ({key} was {before.get(key)!r}, '
                    f'now {given.get(key)!r}): give another folder, or remove it'
                )
        else:
            write_whole(file, json.dumps(given, indent=1))

    def read(self) -> dict[str, dict[str, dict[str, Any]]]:
        """method → image → ``{label, values}``, of all processes; a line that was cut off by a stop is passed over."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for file in sorted(self.folder.glob('rows*.jsonl')):
            for line in file.read_text(encoding='utf-8').splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue
                found.setdefault(row['method'], {})[row['image']] = row
        return found

    def judge(
        self,
        methods: Sequence[str],
        model: nn.Module,
        batches: Iterable[tuple[list[Truth], Callable[[], Tensor]]],
        judgement: Judgement,
        told: Callable[[int], None] | None = None,
    ) -> None:
        """Judge what is not there yet: all methods on one batch, then the next one.

        Args:
            methods: see :func:`parse_method`.
            model: the network.
            batches: truths of some images, and what makes their inputs.
            judgement: what is asked.
            told: called with the number of images after each batch.
        """
        explainers = {method: method_explainer(method, model) for method in methods}
        done, faster = self.read(), None
        number, parts = self.part
        with open(self.folder / f'rows-{number + 1}of{parts}.jsonl', 'a', encoding='utf-8') as file:
            for i, (truths, make) in enumerate(batches):
                missing = [m for m in methods if any(truth.name not in done.get(m, {}) for truth in truths)]
                if i % parts == number and missing:
                    inputs = make()
                    faster = faster or inference_copy(model.eval(), inputs[:2])
                    for method in missing:
                        rows = judge(explainers[method], inputs, truths, judgement, faster)
                        lines = [
                            json.dumps(dict(method=method, image=truth.name, label=truth.label, values=row)) + '\n'
                            for truth, row in zip(truths, rows)
                        ]
                        file.write(''.join(lines))
                        file.flush()
                        os.fsync(file.fileno())
                if told is not None:
                    told(len(truths))


class Interval(NamedTuple):
    """A mean, half of its 95 % interval over the images, and their number.

    >>> Interval(61.3, 0.42, 25).text()
    '61.3 ± 0.4'
    """

    mean: float
    half: float
    images: int

    def text(self, digits: int = 1) -> str:
        """``61.3 ± 0.4``."""
        return f'{self.mean:.{digits}f} ± {self.half:.{digits}f}'


def interval(values: Sequence[float], labels: Sequence[int] | None = None) -> Interval:
    """Mean over the images and the half width of its 95 % interval, 1.96 standard errors; of a single value NaN.

    Args:
        values: of the images.
        labels: their classes: the mean over the classes of each one's mean is taken instead, as pointing has it.

    >>> interval([1.0, 3.0]), interval([1.0, 0.0, 1.0], labels=[4, 4, 7]).mean
    (Interval(mean=2.0, half=1.96, images=2), 0.75)
    """
    groups: dict[int, list[float]] = {}
    for value, label in zip(values, [0] * len(values) if labels is None else labels):
        groups.setdefault(label, []).append(value)
    means = [float(np.mean(group)) for group in groups.values()]
    # A class of one image tells nothing of its spread: that of all images stands for it.
    usual = float(np.var(values, ddof=1)) if len(values) > 1 else math.nan
    spread = [(float(np.var(group, ddof=1)) if len(group) > 1 else usual) / len(group) for group in groups.values()]
    return Interval(float(np.mean(means)), HALF_WIDTH * math.sqrt(sum(spread)) / len(groups), len(values))


Summary = dict[str, dict[str, Interval]]


def summarize_rows(rows: Mapping[str, Mapping[str, Mapping[str, Any]]], methods: Sequence[str]) -> Summary:
    """method → figure → its interval, in the figure's unit; figures that no image has are left out."""
    table: Summary = {}
    for method in methods:
        columns: dict[str, tuple[list[float], list[int]]] = {}
        for name in sorted(rows.get(method, {})):  # one order, whoever wrote them
            row = rows[method][name]
            for figure, value in row['values'].items():
                if value is not None:
                    values, labels = columns.setdefault(figure, ([], []))
                    values.append(FIGURES[figure].factor * value)
                    labels.append(row['label'])
        table[method] = {
            figure: interval(values, labels if figure == 'pointing' else None)
            for figure, (values, labels) in columns.items()
        }
    return table


#: Digits behind the point, where figures are no percentages.
DIGITS = {'complexity': 2, 'max_sensitivity': 3, 'random_logit': 3, 'parameter_randomization': 3}


def heading(figure: str) -> str:
    """A column's name with its direction and unit.

    >>> heading('average_drop'), heading('complexity')
    ('average drop % ↓', 'complexity nats ↓')
    """
    known = FIGURES[figure]
    return f'{figure.replace("_", " ")} {known.unit} {"↑" if known.better == "high" else "↓"}'


def summary_markdown(table: Summary) -> str:
    """A Markdown table, a row a method, means ± half of their 95 % intervals; the best mean of a column in bold."""
    figures = [name for name in FIGURES if any(name in row for row in table.values())]
    lines = [
        '| method | images | ' + ' | '.join(heading(name) for name in figures) + ' |',
        '|---' * (len(figures) + 2) + '|',
    ]
    best = {}
    for name in figures:
        means = [row[name].mean for row in table.values() if name in row]
        best[name] = max(means) if FIGURES[name].better == 'high' else min(means)
    for method, row in table.items():
        images = max((one.images for one in row.values()), default=0)
        cells = []
        for name in figures:
            text = row[name].text(DIGITS.get(name, 1)) if name in row else ''
            cells.append(f'**{text}**' if name in row and row[name].mean == best[name] else text)
        lines.append(f'| {method} | {images} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def write_summary(table: Summary, out: str | Path) -> list[Path]:
    """``OUT.md``, ``OUT.csv`` and ``OUT.png``: the table, all its numbers, and a picture of the intervals."""
    out = Path(out)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(['method', 'figure', 'mean', 'half_interval', 'images'])
    for method, row in table.items():
        writer.writerows([method, name, repr(one.mean), repr(one.half), one.images] for name, one in row.items())
    paths = [out.with_name(f'{out.name}.{kind}') for kind in ('md', 'csv', 'png')]
    write_whole(paths[0], summary_markdown(table))
    write_whole(paths[1], text.getvalue())
    draw_summary(table, paths[2])
    return paths


def draw_summary(table: Summary, path: str | Path) -> None:
    """One panel a figure, one line a method: its mean and 95 % interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figures = [name for name in FIGURES if any(name in row for row in table.values())]
    methods = list(table)
    columns = min(4, max(len(figures), 1))
    rows = -(-max(len(figures), 1) // columns)
    figure = Figure(figsize=(3.2 * columns + 1.5, (0.22 * len(methods) + 0.9) * rows), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis in axes.flat[len(figures) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, figures):
        for place, method in enumerate(methods):
            if name in table[method]:
                one = table[method][name]
                half = 0 if math.isnan(one.half) else one.half
                axis.errorbar(one.mean, place, xerr=half, fmt='o', color='#0072B2', markersize=4, capsize=2)
        axis.set_title(heading(name), fontsize=9)
        axis.set_yticks(range(len(methods)), methods, fontsize=8)
        axis.tick_params(axis='x', labelsize=8)
        axis.grid(alpha=0.3)
    axes.flat[0].invert_yaxis()
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=110, format=Path(path).suffix[1:])
