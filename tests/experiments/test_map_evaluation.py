# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the map tools share: arguments, ground truths, exit codes, and which runs may go on from a state."""

from __future__ import annotations

import argparse
import os

import pytest

from mmentropy.evaluation.offline import Outcome
from mmentropy.experiments.arguments import add_map_arguments, add_truth_arguments
from mmentropy.experiments.map_evaluation import (
    evaluation_from,
    report_faults,
    run_with_progress,
    settings_of,
    truths_of,
)


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_map_arguments(parser)
    parser.add_argument('--out')
    return parser.parse_args(list(words))


@pytest.fixture
def metadata(tmp_path) -> str:
    """One image of 40×30 pixels with a box."""
    rows = dict(image_ids='a.jpg', class_labels='a.jpg,3', image_sizes='a.jpg,40,30', localization='a.jpg,1,2,20,25')
    for name, row in rows.items():
        (tmp_path / f'{name}.txt').write_text(row)
    return str(tmp_path)


def test_maps_and_truths_of_the_arguments(metadata, tmp_path):
    (tmp_path / 'maps').mkdir()
    evaluation, out = evaluation_from(parse(str(tmp_path / 'maps'), '--metadata', metadata))
    assert out == tmp_path / 'maps.json'
    assert evaluation.truths.ids == ['a.jpg']
    assert evaluation.truths[0]['gt_bboxes'].tolist() == [[1, 2, 20, 25]]
    with pytest.raises(FileNotFoundError, match='nowhere is not a folder; give the one that holds the score maps'):
        evaluation_from(parse(str(tmp_path / 'nowhere'), '--metadata', metadata))


def test_truths_of_a_config(repo_root):
    parser = argparse.ArgumentParser()
    add_truth_arguments(parser)
    config = str(repo_root / 'configs/demo/resnet18_partshapes.py')
    args = parser.parse_args(['--config', config, '--cfg-options', 'test_dataloader.dataset.length=2'])
    assert truths_of(args).ids == ['0', '1']
    assert args.eval_size == (224, 224)


def test_settings_are_what_decides_figures(metadata):
    one, other = (settings_of(parse('maps', '--metadata', metadata, '--jobs', jobs)) for jobs in ('1', '2'))
    assert one == other
    assert one['metadata'] == metadata


def test_exit_codes(capsys):
    assert report_faults(Outcome(images=2), allow_missing=False) == 0
    faulty = Outcome(images=1, faults=[(f'{i}.jpg', 'no map') for i in range(60)])
    assert report_faults(faulty, allow_missing=False) == 1
    assert report_faults(faulty, allow_missing=True) == 0
    said = capsys.readouterr().err
    assert '60 faults; these images or files are not in the figures:' in said
    assert '  0.jpg: no map' in said
    assert 'more, see the JSON' in said


def test_an_edited_config_and_other_predictions_are_other_settings(tmp_path):
    """What an interrupted run may go on from: the settings hold the files by their content."""
    (tmp_path / 'maps').mkdir()
    config, predictions = tmp_path / 'c.py', tmp_path / 'p.csv'
    given = []

    class Evaluation:
        truths = argparse.Namespace(ids=['a.jpg'])

        def run(self, jobs, state, settings, progress, workers):
            given.append(settings)

    def run() -> object:
        options = ['--config', str(config), '--predictions', str(predictions)]
        run_with_progress(Evaluation(), parse(str(tmp_path / 'maps'), *options), None)
        return given[-1]

    config.write_text('a = 1\n')
    predictions.write_text('a.jpg,3\n')
    first = run()
    os.utime(config, (1, 1))
    os.utime(predictions, (1, 1))
    assert run() == first
    config.write_text('a = 2\n')
    second = run()
    predictions.write_text('a.jpg,4\n')
    assert len({repr(settings) for settings in (first, second, run())}) == 3
