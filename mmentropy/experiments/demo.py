# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The first look: plain CAM and the entropy recipe, trained on drawn images, in one table and one picture."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from rich.box import SIMPLE
from rich.table import Table

from mmentropy.datasets.readers.truths import DatasetTruths
from mmentropy.engine import build_runner, cpu_has_bf16, load_config, train, use_amp
from mmentropy.evaluation import BoxLocalizationMetric
from mmentropy.evaluation.map_files import OneMap
from mmentropy.evaluation.offline import MapEvaluation
from mmentropy.ops.localizing.boxes import center_map
from mmentropy.ops.mapping.scaling import upsample_map
from mmentropy.safe_files import write_whole
from mmentropy.structures import CAMS, GT_BBOXES, GT_LABEL, PRED_LABEL, grid_in_image
from mmentropy.visualization import ComparisonRow, draw_comparison_grid
from mmentropy.visualization.visualizer import write_image

#: Both networks of the demo, trained on drawn images by ``mmentropy demo --save-weights FILE``: see docs/demo.md.
WEIGHTS = Path(__file__).parent / 'demo_weights.pth'
#: What ``--quick`` tests: so many images, read by the process itself.
QUICK = {
    'test_dataloader.dataset.length': 100,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
}
#: Where a user without boxes would cut a map: the share of its maximum.
FIXED = 0.2


def named_network(name: str) -> tuple[torch.nn.Module, str | None]:
    """A classifier without its weights, and where they can be had.

    Args:
        name: torchvision's, or timm's where it is installed.

    Returns:
        the network, and the address of ImageNet weights; None for timm's, whose weights are a file that the user has.

    Raises:
        ValueError: for a name that neither has, with the nearest ones.

    >>> named_network('resnet18')[1]
    'torchvision://resnet18'
    """
    import torchvision.models as models

    names = models.list_models(module=models)
    if name in names:
        return models.get_model(name), f'torchvision://{name}'
    if find_spec('timm'):
        import timm

        if timm.is_model(name):
            return timm.create_model(name), None
        names = [*names, *timm.list_models()]
    near = get_close_matches(name, names, 3, 0.5)
    told = f'did you mean {" or ".join(near)}?' if near else 'their pages list the names'
    raise ValueError(f'neither torchvision nor timm (where it is installed) has a network {name!r}; {told}')


@dataclass(frozen=True)
class DemoModel:
    """A row of the table.

    Args:
        title: what a newcomer calls it.
        config: the config that trains it, relative to the folder of configs.
        options: config keys that read its maps another way; the weights are those of ``config`` alone.
        grid: of the box metric: ``half_pixel`` draws the maps as the field does.

    >>> MODELS[0].title, MODELS[0].config == MODELS[1].config  # the first two rows are one training, read twice
    ('plain CAM as usual', True)
    """

    title: str
    config: str
    options: Mapping[str, Any] = field(default_factory=dict)
    grid: str = 'sample'


MODELS = (
    DemoModel('plain CAM as usual', 'demo/resnet18_partshapes.py', {'model.reading': 'protocol'}, 'half_pixel'),
    DemoModel('the same, by certainty', 'demo/resnet18_partshapes.py', {'model.reading': 'certain+spread'}),
    DemoModel('the entropy recipe', 'demo/resnet18_partshapes_ent.py'),
)
#: Column → key of the metrics.
COLUMNS = {
    'class right': 'accuracy/top1',
    'box right': 'wsol/GT-known',
    'box score': 'wsol/MaxBoxAccV2',
    'without tuning': 'wsol/BoxAccV2@fixed',
}
#: The row beside them.
CENTER = 'always the best centre box'
LEGEND = (
    'box right: overlap with the true box (IoU) of at least 50 %; box score: mean of that at 30, 50 and 70 % '
    '(MaxBoxAccV2). '
    'Both cut each map where it suits the set best. '
    f'without tuning: the box score when every map is cut at {FIXED:.0%} of its maximum.'
)


def configured(model: DemoModel, configs: Path, work_dir: Path, options: Mapping[str, Any] | None) -> Any:
    """The config of a row: quiet, resumable, without validation during training, with both thresholds."""
    cfg = load_config(str(configs / model.config), options)
    name = Path(model.config).stem
    cfg.work_dir, cfg.experiment_name = str(work_dir / name), f'demo_{name}_{model.grid}_{len(model.options)}'
    cfg.log_level, cfg.resume = 'WARNING', True
    cfg.custom_hooks = [dict(type='mmentropy.ProgressHook', title=model.title)]
    # The test at the end replaces the validation during training.
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    for metric in cfg.test_evaluator:
        if metric['type'] == 'mmentropy.BoxLocalizationMetric':
            metric.update(threshold=FIXED, grid=model.grid)
    if cpu_has_bf16():
        use_amp(cfg)
    return cfg


def run_models(
    configs: Path,
    work_dir: Path,
    options: Mapping[str, Any] | None = None,
    models: Sequence[DemoModel] = MODELS,
    weights: Path | None = None,
) -> dict[str, tuple[dict[str, float], Runner]]:
    """Train each config once (or resume it), and test each row.

    Args:
        configs: the folder of configs.
        work_dir: one folder a config inside.
        options: config keys for all.
        models: the rows.
        weights: a file of :func:`save_weights`, in place of the training.

    Returns:
        title → (figures of the test, its runner, whose model reads its maps as the row says).
    """
    trained = {} if weights is None else read_weights(weights)
    results = {}
    for model in models:
        cfg = configured(model, configs, work_dir, options)
        if model.config not in trained:
            trained[model.config] = train(cfg).model.state_dict()
        cfg.merge_from_dict(dict(model.options))
        cfg.resume, cfg.custom_hooks = False, []
        runner = build_runner(cfg)
        runner.model.load_state_dict(trained[model.config])
        results[model.title] = runner.test(), runner
    return results


def save_weights(results: Mapping[str, tuple[Any, Runner]], path: Path, models: Sequence[DemoModel] = MODELS) -> None:
    """The trained networks of :func:`run_models` in one small file of tensors: kernels in half precision."""
    states = {}
    for model in models:
        state = results[model.title][1].model.state_dict()
        states[model.config] = {key: value.half() if value.ndim > 1 else value for key, value in state.items()}
    buffer = io.BytesIO()
    torch.save(states, buffer)
    write_whole(path, buffer.getvalue())


def read_weights(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """config → state dict, in single precision.

    Raises:
        FileNotFoundError, ValueError: for a file that is missing, or is not of :func:`save_weights`.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file of weights; mmentropy demo --save-weights writes one')
    try:
        states = torch.load(path, map_location='cpu', weights_only=True)
        return {
            name: {key: value.float() if value.ndim > 1 else value for key, value in state.items()}
            for name, state in states.items()
        }
    except (RuntimeError, AttributeError, pickle.UnpicklingError, EOFError) as error:
        told = str(error).splitlines()[0]
        raise ValueError(f'{path}: no weights of mmentropy demo --save-weights ({told})') from None


def center_box(runner: Runner) -> dict[str, float]:
    """The figures of a row's metrics for the best centre box: what a method scores that never looks at the image."""
    metric = next(metric for metric in runner.test_evaluator.metrics if isinstance(metric, BoxLocalizationMetric))
    truths = DatasetTruths(runner.test_dataloader.dataset)
    size = metric.counter.eval_size
    plain = BoxLocalizationMetric(eval_size=size, threshold=FIXED)
    outcome = MapEvaluation(truths, OneMap(center_map(size)), [plain]).images(range(len(truths.ids)))
    return {f'{plain.prefix}/{name}': value for name, value in plain.figures(outcome.counts[0]).items()}


def summarize_demo(figures: Mapping[str, Mapping[str, float]], images: int) -> tuple[Table, str]:
    """The table, and one sentence that says what is better, and why.

    Args:
        figures: title → figures of its test, in the order of the rows; the first is what is usual, the last ours. The
            row :data:`CENTER` is shown and not compared.
        images: how many were tested.

    >>> low, high = dict.fromkeys(COLUMNS.values(), 40.0), dict.fromkeys(COLUMNS.values(), 60.0)
    >>> summarize_demo({'CAM': low, 'ours': high}, 500)[1][:73]
    'Of 100 boxes, ours has 60 right where CAM has 40; of 100 classes, 60 wher'
    """
    table = Table(
        box=SIMPLE, title=f'Where is the object? {images} drawn images, in %', title_justify='left', caption=LEGEND
    )
    table.add_column('', no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify='right', no_wrap=True)
    for title, values in figures.items():
        table.add_row(title, *(f'{values[key]:.1f}' if key in values else '–' for key in COLUMNS.values()))
    rows = [row for row in figures.items() if row[0] != CENTER]
    (usual, first), (ours, last) = rows[0], rows[-1]
    right, boxes = COLUMNS['class right'], COLUMNS['box right']
    sentence = (
        f'Of 100 boxes, {ours} has {last[boxes]:.0f} right where {usual} has {first[boxes]:.0f}; of 100 classes, '
        f'{last[right]:.0f} where it has {first[right]:.0f}. It learns from the places where it is certain; its maps '
        'are drawn where the network looks, and without the evidence against the class.'
    )
    return table, sentence


@torch.no_grad()
def predictions(runner: Runner, items: Sequence[dict]) -> list[DataSample]:
    """What a row's model makes of items of its data set."""
    model = runner.model.eval()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        data = model.data_preprocessor({key: [item[key] for item in items] for key in ('inputs', 'data_samples')})
        return model(**data, mode='predict')


def draw_demo(results: Mapping[str, tuple[Mapping[str, float], Runner]], path: Path, count: int = 6) -> None:
    """One image a row, one model a column: the map of the true class, the true box, the box read from the map, ✓ or ✗.

    Each column's boxes are cut at its own best threshold for half an overlap, as its figures are.
    """
    dataset = next(iter(results.values()))[1].test_dataloader.dataset
    names = dataset.metainfo['classes']
    items = [dataset[i] for i in range(count)]
    rows = []
    for item in items:
        sample = item['data_samples']
        image = item['inputs'].permute(1, 2, 0).numpy()[..., ::-1]
        rows.append(ComparisonRow(image, {}, sample.get(GT_BBOXES), names[int(sample.get(GT_LABEL)[0])]))
    cuts = {}
    for title, (figures, runner) in results.items():
        cuts[title] = figures['wsol/threshold@50']
        in_place = all(metric.grid == 'sample' for metric in runner.test_evaluator.metrics if hasattr(metric, 'grid'))
        for row, sample in zip(rows, predictions(runner, items)):
            grid = grid_in_image(sample) if in_place else None
            row.maps[title] = upsample_map(np.asarray(sample.get(CAMS)[0].cpu()), row.image.shape[:2], grid=grid)
            row.captions[title] = names[int(sample.get(PRED_LABEL)[0])]
    write_image(path, draw_comparison_grid(rows, tile=200, threshold=cuts, marks=True))
