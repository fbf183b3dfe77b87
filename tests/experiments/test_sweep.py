# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import json
import runpy
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmentropy.experiments import comparison
from mmentropy.experiments.comparison import figures_of, plan_runs
from mmentropy.experiments.methods_grid import methods_grid, short_names, spread_indices
from mmentropy.experiments.sweep import class_count, plan_sweep, sweep_points
from mmentropy.models.losses import EntropyRegularizedLoss

CONFIGS = ['configs/demo/resnet18_partshapes.py', 'configs/demo/resnet18_partshapes_ent.py']
NARROW = {'model.backbone.base_channels': 4, 'model.backbone.stem_channels': 4, 'val_dataloader.dataset.length': 20}

LOADER = {'num_workers': 0, 'persistent_workers': False, 'batch_size': 10}


def pretend_trained(run, figures=None) -> torch.nn.Module:
    """What a finished run leaves, with weights that no training has seen."""
    cfg = run.train_config()
    trained = comparison._fingerprint(cfg, comparison.TRAINING_KEYS)
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    run.directory.mkdir(parents=True)
    torch.save(dict(state_dict=model.state_dict(), meta={}), run.directory / 'epoch_1.pth')
    (run.directory / 'trained.json').write_text(json.dumps(dict(fingerprint=trained, checkpoint='epoch_1.pth')))
    if figures is not None:
        (run.directory / 'metrics').mkdir()
        for name, one in run.evaluation_configs().items():
            mark = comparison._fingerprint(one, comparison.EVALUATION_KEYS)
            (run.directory / f'metrics/{name}.json').write_text(json.dumps(dict(fingerprint=mark, metrics=figures)))
    return model.eval()


def test_the_number_of_classes_is_read_before_anything_runs():
    head, preprocessor = dict(num_classes=3), dict(num_classes=4)
    assert class_count(Config(dict(model=dict(head=head), data_preprocessor=preprocessor))) == 3
    assert class_count(Config(dict(model=dict(head=dict(type='x')), data_preprocessor=preprocessor))) == 4
    assert class_count(Config(dict(model=dict(data_preprocessor=preprocessor)))) == 4
    with pytest.raises(ValueError, match=r'no data_preprocessor\.num_classes and no model\.head\.num_classes'):
        class_count(Config(dict(model=dict(head=None))))


def test_plan_has_the_plain_model_once_and_the_seeds_outermost(repo_root, tmp_path):
    config = str(repo_root / CONFIGS[0])
    runs = plan_sweep(config, ['er', 'cp'], [1, 0.1], [0, 5], tmp_path, NARROW)
    names = ['lambda0', 'er_lambda0.1', 'er_lambda1', 'cp_lambda0.1', 'cp_lambda1']
    assert [run.name for run in runs] == names * 2
    assert [run.seed for run in runs] == [0] * 5 + [5] * 5
    assert len({run.directory for run in runs}) == 10
    loss = runs[2].train_config().model.head.loss
    assert loss == dict(type='mmentropy.EntropyRegularizedLoss', lambda_=1, class_reduction='mean')
    init_default_scope('mmpretrain')
    assert isinstance(MODELS.build(loss), EntropyRegularizedLoss)
    assert runs[2].train_config().model.backbone.base_channels == 4
    with pytest.raises(ValueError, match="the losses are er, cp, jeffreys, not 'ls'"):
        plan_sweep(config, ['ls'], [1], [0], tmp_path)
    with pytest.raises(ValueError, match='must be positive'):
        plan_sweep(config, ['er'], [0, 1], [0], tmp_path)


def test_points_join_seeds_and_leave_out_what_is_not_finished(repo_root, tmp_path):
    runs = plan_sweep(str(repo_root / CONFIGS[0]), ['er'], [0.1, 1], [0, 1], tmp_path, NARROW)
    for run, figure in ((runs[0], 50.0), (runs[3], 54.0), (runs[1], 60.0)):
        pretend_trained(run, {'wsol/GT-known': figure})
    plain, regularised = sweep_points(runs)
    assert (plain.loss, plain.lambda_, plain.figures['wsol/GT-known'].mean) == ('er', 0.0, 52.0)
    assert plain.figures['wsol/GT-known'].n == 2
    assert (regularised.lambda_, regularised.figures['wsol/GT-known'].spread) == (0.1, None)


def test_tool_tabulates_and_draws_what_is_finished(repo_root, tmp_path, monkeypatch, capsys):
    config, work_dir = str(repo_root / CONFIGS[0]), tmp_path / 'sweep'
    for i, run in enumerate(plan_sweep(config, ['er'], [0.1, 1.0], [0], work_dir, NARROW)):
        pretend_trained(run, {'wsol/GT-known': 50.0 + i, 'accuracy/top1': 60.0 - i, 'wsol/entropy': 1.0 + i})
    arguments = [config, '--losses', 'er', '--lambdas', '0.1', '1', '--seeds', '0', '--work-dir', str(work_dir)]
    arguments += [
        '--localization',
        'wsol/GT-known',
        '--cfg-options',
        *(f'{key}={value}' for key, value in NARROW.items()),
    ]
    monkeypatch.setattr(sys, 'argv', ['entropy_sweep.py', *arguments])
    runpy.run_path(str(repo_root / 'tools/analysis_tools/entropy_sweep.py'), run_name='__main__')
    assert f'wrote {work_dir / "sweep.png"}' in capsys.readouterr().out
    assert (work_dir / 'sweep.png').stat().st_size > 10_000
    rows = (work_dir / 'sweep.md').read_text().splitlines()
    assert rows[2:] == [
        f'| lambda0 | 1 |{" 50.0 | **60.0** | 1.000 |" * 2}',  # of the validation and of the test split
        f'| er_lambda0.1 | 1 |{" 51.0 | 59.0 | 2.000 |" * 2}',
        f'| er_lambda1 | 1 |{" **52.0** | 58.0 | 3.000 |" * 2}',
    ]


def test_thresholds_of_a_test_split_are_those_of_validation(repo_root, tmp_path):
    loaders = {f'{split}_dataloader.{key}': value for split in ('val', 'test') for key, value in LOADER.items()}
    options = {**NARROW, **loaders, 'test_dataloader.dataset.split': 'test', 'test_dataloader.dataset.length': 24}
    run = plan_runs([str(repo_root / CONFIGS[0])], [0], tmp_path, options)[0]
    pretend_trained(run)
    assert run.state() == 'to evaluate'
    run.execute()
    metrics = run.metrics()
    chosen = metrics['val']['wsol/threshold@50']
    assert metrics['test']['wsol/threshold@50@transfer'] == chosen
    assert metrics['test']['wsol/BoxAcc@50@transfer'] <= metrics['test']['wsol/MaxBoxAcc@50']
    figures = figures_of(run)
    assert figures['wsol/GT-known'] == metrics['test']['wsol/GT-known']
    assert figures['val:wsol/GT-known'] == metrics['val']['wsol/GT-known']
    assert run.state() == 'finished'


def test_grid_has_a_column_a_method_and_the_maps_of_the_true_class(repo_root, tmp_path, monkeypatch):
    runs = plan_runs([str(repo_root / path) for path in CONFIGS], [0], tmp_path, NARROW)
    models = [pretend_trained(run) for run in runs]
    seen = []
    draw = comparison.__name__.replace('comparison', 'methods_grid') + '.draw_comparison_grid'
    monkeypatch.setattr(draw, lambda rows, **options: seen.append((rows, options)) or np.zeros((4, 4, 3), np.uint8))
    methods_grid(runs, 3, 'val', tile=64)
    rows, options = seen[0]
    assert options == dict(tile=64)
    assert len(rows) == 3
    assert [list(row.maps) for row in rows] == [['plain', 'ent']] * 3
    from mmpretrain.registry import DATASETS

    dataset = DATASETS.build(runs[0].evaluation_configs()['val'].test_dataloader.dataset)
    for row, index in zip(rows, spread_indices(20, 3)):
        item = dataset[index]
        label = int(item['data_samples'].gt_label)
        np.testing.assert_array_equal(row.image, item['inputs'].permute(1, 2, 0).numpy()[..., ::-1])
        np.testing.assert_allclose(row.gt_bboxes, item['data_samples'].gt_bboxes.numpy())
        for column, model in zip(('plain', 'ent'), models):
            data = model.data_preprocessor(dict(inputs=[item['inputs']]))
            with torch.no_grad():
                features = model.backbone(data['inputs'])[-1][0]
            expected = torch.einsum('d,dhw->hw', model.head.fc.weight[label], features)
            np.testing.assert_allclose(row.maps[column], expected.detach().numpy(), rtol=1e-3, atol=1e-4)


def test_grid_is_a_picture_and_errors_are_sentences(repo_root, tmp_path):
    run = plan_runs([str(repo_root / CONFIGS[0])], [0], tmp_path, NARROW)[0]
    with pytest.raises(FileNotFoundError, match=r'resnet18_partshapes seed 0 has no weights .* train it first'):
        methods_grid([run], 2)
    pretend_trained(run)
    picture = methods_grid([run], [0, 7], tile=64)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 2 * 64 + 4
    with pytest.raises(KeyError, match="no evaluation 'mosaic'; there are val"):
        methods_grid([run], 2, 'mosaic')
    with pytest.raises(ValueError, match=r'there is no image 999999: the set has \d+, from 0 to'):
        methods_grid([run], [3, 999_999])


def test_columns_are_named_by_what_tells_them_apart():
    assert short_names(['r_cub', 'r_cub_adl', 'r_cub_er_x']) == ['plain', 'adl', 'er_x']
    assert short_names(['a_cub', 'b_cub']) == ['a_cub', 'b_cub']
    assert short_names(['r_cub']) == ['r_cub']
    assert short_names(['r_efw', 'r_ef']) == ['efw', 'ef']


def test_indices_are_spread():
    assert spread_indices(10, 3) == [0, 4, 9]
    assert spread_indices(2, 5) == [0, 1]
