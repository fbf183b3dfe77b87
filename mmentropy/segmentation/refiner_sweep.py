# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Seeds and refiners over a grid of options: chosen on one split, reported on another."""

from __future__ import annotations

import inspect
import itertools
import json
import logging
from ast import literal_eval
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmentropy.safe_files import write_whole, written_whole

from .pipeline import SeedPipeline
from .records import write_json
from .stage import PerImageStage
from .training import Training

FOLDER = 'sweep'
#: Columns of the table that fit a page.
BEST = 12
logger = logging.getLogger(__name__)

#: (stage, option) → value
Choice = dict[tuple[str, str], Any]


def split_values(text: str) -> list[Any]:
    """Values between the commas that no bracket encloses; what is no Python literal is text.

    >>> split_values('[10,10,4],[20,10,6]'), split_values('power,entropy'), split_values('0.1,None')
    ([[10, 10, 4], [20, 10, 6]], ['power', 'entropy'], [0.1, None])
    """
    parts, depth = [''], 0
    for letter in text:
        depth += (letter in '[(') - (letter in '])')
        if letter == ',' and depth == 0:
            parts.append('')
        else:
            parts[-1] += letter
    values = []
    for part in parts:
        try:
            values.append(literal_eval(part.strip()))
        except (ValueError, SyntaxError):
            values.append(part.strip())
    return values


def read_grid(options: Sequence[str]) -> list[Choice]:
    """All combinations of ``stage.option=value,value …``.

    Raises:
        ValueError: for what has another form, or names an option twice.

    >>> read_grid(['seed.scale=0.1,0.2', 'crf.iterations=5'])
    [{('seed', 'scale'): 0.1, ('crf', 'iterations'): 5}, {('seed', 'scale'): 0.2, ('crf', 'iterations'): 5}]
    """
    axes: dict[tuple[str, str], list[Any]] = {}
    for text in options:
        key, equals, values = text.partition('=')
        stage, dot, option = key.partition('.')
        if not (stage and dot and option and equals and values) or '.' in option:
            raise ValueError(f'--sweep wants STAGE.OPTION=VALUE,VALUE …, got {text!r}')
        if (stage, option) in axes:
            raise ValueError(f'--sweep names {key} twice in one grid; write a second --sweep for another grid')
        axes[stage, option] = split_values(values)
    return [dict(zip(axes, values)) for values in itertools.product(*axes.values())]


@dataclass
class Tried:
    """One combination of options, and mIoU (per cent) of each measured stage on the selection split."""

    choice: Choice
    figures: dict[str, float | None]

    def __str__(self) -> str:
        told = ', '.join(f'{stage}.{option}={value}' for (stage, option), value in self.choice.items())
        return told or 'as the config has it'


class RefinerSweep:
    """Tries options of the stages between the maps and the next training; trainings are those of the base run.

    Every stage's folder is named by a hash of all that it is made with, so combinations share what they have in common,
    and a sweep that was killed goes on.

    Args:
        base: the run whose classifier makes the maps; nothing is written to its stages.
        grids: each as of :func:`read_grid`; their union is tried, and the config as it is.
        select: the list of images that options are chosen on; they need true masks.
        by: the stage whose mIoU decides; the last one before the next training by default.

    Raises:
        ValueError: for a stage or an option that there is not, and where choice and report would be of one list.

    >>> stages = dict(maps=dict(type='ForeignMaps'), seed=dict(type='Seed'), masks=dict(type='PseudoMasks'))
    >>> from mmentropy.segmentation import Context, VOCFolder
    >>> base = SeedPipeline(stages, Context(Path('work'), VOCFolder('VOC2012')))
    >>> RefinerSweep(base, [read_grid(['seed.threshold=0.1,0.2'])], select='select').by
    'masks'
    """

    def __init__(self, base: SeedPipeline, grids: Sequence[list[Choice]], select: str, by: str | None = None) -> None:
        self.base, self.select = base, select
        if select == base.ctx.data.split:
            raise ValueError(f'options chosen on {select!r} cannot be reported on it; name another --select-split')
        self.choices: list[Choice] = [{}]
        for choice in itertools.chain.from_iterable(grids):
            self._check(choice)
            if choice not in self.choices:
                self.choices.append(choice)
        names = [stage.name for stage in base.stages]
        first = min((names.index(stage) for choice in self.choices for stage, _ in choice), default=0)
        self.measured = self._stages_until_training(first)
        self.by = by or self.measured[-1]
        if self.by not in self.measured:
            raise ValueError(f'{self.by!r} cannot decide; the sweep measures {", ".join(self.measured)}')

    def _check(self, choice: Choice) -> None:
        for name, option in choice:
            stage = self.base.stage(name)
            if not isinstance(stage, PerImageStage):
                raise ValueError(
                    f'--sweep {name}.{option}: {name} trains; only stages that work image by image are swept'
                )
            known = inspect.signature(type(stage)).parameters
            if option not in known or option in ('name', 'source'):
                there = [one for one in known if one not in ('name', 'source')]
                raise ValueError(f'--sweep {name}.{option}: {name} has no such option; it has {", ".join(there)}')

    def _stages_until_training(self, first: int) -> list[str]:
        """Measured stages from the first swept one on, up to the next training."""
        found = []
        for stage in self.base.stages[first:]:
            if isinstance(stage, Training):
                break
            if isinstance(stage, PerImageStage) and stage.MEASURES:
                found.append(stage.name)
        return found

    def pipeline(self, choice: Choice, split: str) -> SeedPipeline:
        """The stages up to the last measured one, with these options, on this list."""
        settings, base = [], self.base
        for name, stage_settings in base.settings.items():
            changes = {option: value for (stage, option), value in choice.items() if stage == name}
            settings.append({**stage_settings, **changes})
            if name == self.measured[-1]:
                break
        data = replace(base.ctx.data, split=split)
        ctx = replace(base.ctx, work_dir=base.ctx.work_dir / FOLDER, data=data, places={}, names={})
        made = SeedPipeline(settings, ctx)
        for stage in made.stages:
            if isinstance(stage, Training):
                ctx.places[stage.name] = base.ctx.folder(stage.name)
        for stage in made.stages:
            ctx.names[stage.name] = f'{stage.name}-{made.hash(stage.name)[:10]}'
        return made

    def measure(self, choice: Choice, split: str) -> dict[str, Any]:
        """mIoU of each measured stage with these options on a list."""
        pipeline = self.pipeline(choice, split)
        pipeline.run(only=[stage.name for stage in pipeline.stages if not isinstance(stage, Training)])
        records = {name: pipeline.record(pipeline.stage(name)) for name in self.measured}
        return {name: record.result.get('mIoU') for name, record in records.items()}

    def run(self) -> dict[str, Any]:
        """Try all, choose, report; writes ``sweep.json``, ``sweep.md`` and ``sweep.png``.

        Returns:
            What ``sweep.json`` holds.

        Raises:
            ValueError: if nothing could be measured on the selection split, for want of true masks.
        """
        self.base.draw()
        tried = []
        for number, choice in enumerate(self.choices):
            tried.append(Tried(choice, self.measure(choice, self.select)))
            logger.info('%d of %d, %s: %s', number + 1, len(self.choices), tried[-1], tried[-1].figures)
        if tried[0].figures[self.by] is None:
            raise ValueError(f'{self.select}: its images have no true masks, so nothing can be chosen on it')
        order = sorted(tried, key=lambda one: -(one.figures[self.by] or 0.0))
        split = self.base.ctx.data.split
        report = {'config': self.measure({}, split), 'chosen': self.measure(order[0].choice, split)}
        result = {
            'select': self.select,
            'report': split,
            'by': self.by,
            'chosen': _dotted(order[0].choice),
            'tried': [{'options': _dotted(one.choice), 'mIoU': one.figures} for one in order],
            'mIoU on the reported split': report,
        }
        folder = self.base.ctx.work_dir / FOLDER
        write_json(folder / 'sweep.json', result)
        write_whole(folder / 'sweep.md', self.table(order, report))
        plot_sweep_of_options(order, self.by, self.select, folder / 'sweep.png')
        return result

    def table(self, order: Sequence[Tried], report: dict[str, dict[str, Any]]) -> str:
        """The best combinations and the config's own, in Markdown."""
        head = ['options', *(f'{name}, {self.select}' for name in self.measured)]
        rows = [[str(one), *(one.figures[name] for name in self.measured)] for one in order[:BEST]]
        rows += [[str(one), *(one.figures[name] for name in self.measured)] for one in order[BEST:] if not one.choice]
        split = self.base.ctx.data.split
        told = {'config': 'as the config has it', 'chosen': f'chosen: {order[0]}'}
        second = [[told[kind], *(figures[name] for name in self.measured)] for kind, figures in report.items()]
        return (
            f'mIoU in %. {len(order)} combinations, ordered by `{self.by}` on the list `{self.select}`.\n\n'
            f'{_markdown(head, rows)}\nOn the list `{split}`, on which nothing was chosen:\n\n'
            f'{_markdown(["options", *self.measured], second)}'
        )


def _dotted(choice: Choice) -> dict[str, Any]:
    return {f'{stage}.{option}': value for (stage, option), value in choice.items()}


def _markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ['---'] * len(head), *([('' if cell is None else str(cell)) for cell in row] for row in rows)]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def plot_sweep_of_options(tried: Sequence[Tried], by: str, select: str, path: Path) -> None:
    """mIoU of every combination against each swept option, one panel an option; written whole."""
    from matplotlib.figure import Figure

    axes = list(dict.fromkeys(key for one in tried for key in one.choice))
    figure = Figure(figsize=(3.2 * max(len(axes), 1), 3.0), layout='constrained')
    panels = figure.subplots(1, max(len(axes), 1), sharey=True, squeeze=False)[0]
    for panel, (stage, option) in zip(panels, axes):
        points = [(one.choice[stage, option], one.figures[by]) for one in tried if (stage, option) in one.choice]
        values = sorted({json.dumps(value) for value, _ in points}, key=_order)
        panel.plot([values.index(json.dumps(value)) for value, _ in points], [iou for _, iou in points], 'o', alpha=0.4)
        best = [max(iou or 0 for value, iou in points if json.dumps(value) == one) for one in values]
        panel.plot(range(len(values)), best, color='#D55E00', label='best of each')
        panel.set_xticks(range(len(values)), values, rotation=30 if len(values) > 4 else 0)
        panel.set_xlabel(f'{stage}.{option}')
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(f'mIoU of {by} on {select}, %')
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=110, format='png')


def _order(text: str) -> tuple[int, Any]:
    value = json.loads(text)
    return (0, value) if isinstance(value, int | float) and not isinstance(value, bool) else (1, text)
