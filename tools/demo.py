# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Train the plain CAM and the entropy model on PartShapes and compare them, in a table and a picture (`make demo`)."""

import argparse
import warnings
from pathlib import Path

warnings.filterwarnings('ignore')

from mmentropy.engine import add_config_options, build_runner, cpu_has_bf16, load_config, one_sentence_errors, use_amp  # noqa: E402

CONFIGS = {'GAP + cross-entropy': 'resnet18_partshapes', 'entropy system': 'resnet18_partshapes_ent'}
COLUMNS = {
    'top-1': 'accuracy/top1',
    'V2': 'wsol/MaxBoxAccV2',
    'GT-known': 'wsol/GT-known',
    'part': 'wsol/mass_part',
    'rest': 'wsol/mass_object',
    'backgr.': 'wsol/mass_background',
    'entropy': 'wsol/entropy',
}


def run(title: str, name: str, work_dir: Path, options: dict | None):
    """Train (or resume) one model and evaluate it; gives its metrics and its runner."""
    cfg = load_config(str(Path(__file__).parents[1] / f'configs/demo/{name}.py'), options)
    cfg.work_dir = str(work_dir / name)
    cfg.experiment_name = f'demo_{name}'
    cfg.log_level = 'WARNING'
    cfg.resume = True
    cfg.custom_hooks = [dict(type='mmentropy.ProgressHook', title=title)]
    # The test at the end replaces the validation during training.
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if cpu_has_bf16():
        use_amp(cfg)
    runner = build_runner(cfg)
    runner.train()
    return runner.test(), runner


def draw(runners: dict, path: Path, count: int = 8) -> None:
    """A picture with one image a row and one model a column: the map of the true class and its box."""
    import torch

    from mmentropy.visualization import ComparisonRow, draw_comparison_grid
    from mmentropy.visualization.visualizer import write_image

    dataset = next(iter(runners.values())).test_dataloader.dataset
    batch = [dataset[i] for i in range(count)]
    rows = []
    for item in batch:
        image = item['inputs'].permute(1, 2, 0).numpy()[..., ::-1]
        sample = item['data_samples']
        label = dataset.metainfo['classes'][sample.gt_label.item()]
        rows.append(ComparisonRow(image, {}, gt_bboxes=sample.gt_bboxes, title=label, captions={}))
    for title, runner in runners.items():
        model = runner.model.eval()
        keys = ('inputs', 'data_samples')
        data = model.data_preprocessor({key: [item[key] for item in batch] for key in keys})
        with torch.no_grad():
            samples = model(**data, mode='predict')
        for row, sample in zip(rows, samples):
            row.maps[title] = sample.cams[0]
            row.captions[title] = dataset.metainfo['classes'][sample.pred_label.item()]
    grid = draw_comparison_grid(rows)
    write_image(path, grid)


@one_sentence_errors
def main() -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='default: work_dirs/demo')
    add_config_options(parser)
    args = parser.parse_args()

    metrics, runners = {}, {}
    for title, name in CONFIGS.items():
        metrics[title], runners[title] = run(title, name, args.work_dir, args.cfg_options)
    title = (
        'PartShapes, validation images, in % (entropy in nats); part, rest of the object, background: share of the map'
    )
    table = Table(box=SIMPLE, title=title, caption='V2 is MaxBoxAccV2 at the oracle threshold')
    table.add_column('model', no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify='right')
    for title, values in metrics.items():
        table.add_row(title, *(f'{values[key]:.2f}' for key in COLUMNS.values()))
    Console().print(table)
    draw(runners, args.work_dir / 'maps.png')
    print(f'maps side by side: {args.work_dir / "maps.png"}')


if __name__ == '__main__':
    main()
