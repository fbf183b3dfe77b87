# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The picture of methods: a column each, the maps of the true class."""

import numpy as np
import pytest
import torch
from pretended_runs import CONFIGS, NARROW, pretend_trained

from mmentropy.experiments import comparison
from mmentropy.experiments.comparison import plan_runs
from mmentropy.experiments.methods_grid import methods_grid, short_names, spread_indices
from mmentropy.ops.mapping.reading import read_maps


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
                expected = torch.einsum('d,dhw->hw', model.head.fc.weight[label], features)[None, None]
                entropy = model.head.entropy_map(features[None])
                expected = read_maps(expected, entropy, features[None], 'certain+spread' if column == 'ent' else None)
            np.testing.assert_allclose(row.maps[column], expected[0, 0], rtol=1e-3, atol=1e-4)


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
