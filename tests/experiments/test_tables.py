# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import csv
import statistics

import pytest

from mmentropy.experiments.tables import (
    Measured,
    best_rows,
    columns_of,
    csv_table,
    latex_table,
    markdown_table,
    summarize,
    write_tables,
)

REPEATS = {
    'cam': [{'GT-known': 50.0, 'entropy': 0.5}, {'GT-known': 54.0, 'entropy': 0.25}],
    'has_x': [{'GT-known': 60.0, 'entropy': 1.0, 'mosaic:GT-known': 7.0}],
    'missing': [],
}


def test_mean_and_sample_deviation():
    table = summarize(REPEATS)
    assert table['cam']['GT-known'] == Measured(52.0, statistics.stdev([50, 54]), 2)
    assert table['has_x']['GT-known'] == Measured(60.0, None, 1)
    assert table['missing'] == {}
    assert columns_of(table) == ['GT-known', 'entropy', 'mosaic:GT-known']
    with pytest.raises(KeyError, match="no run has the figure 'PxAP'; there are GT-known"):
        columns_of(table, ['PxAP'])


def test_best_knows_its_direction():
    table = {'a': {'top1': Measured(1, 0, 2), 'loss': Measured(1, 0, 2), 'entropy': Measured(1, 0, 2)}}
    table['b'] = {'top1': Measured(2, 0, 2), 'loss': Measured(2, 0, 2), 'entropy': Measured(2, 0, 2)}
    assert [best_rows(table, key) for key in ('top1', 'loss', 'entropy')] == [{'b'}, {'a'}, set()]


def test_best_is_beyond_the_spread():
    """3 and 4 make 5: a difference of 5 is within the spread of the difference, one above it is not."""
    low, other = Measured(40.0, 3.0, 3), Measured(30.0, 1.0, 3)
    for mean, expected in ((45.0, set()), (45.01, {'b'})):
        table = {'a': {'x': low}, 'b': {'x': Measured(mean, 4.0, 3)}, 'c': {'x': other}}
        assert best_rows(table, 'x') == expected
    assert best_rows({'a': {'x': low}, 'b': {'x': Measured(90.0, None, 1)}}, 'x') == set()


def test_markdown_and_latex_by_hand():
    table = summarize({**REPEATS, 'has_x': 2 * REPEATS['has_x']})
    assert markdown_table(table, ['GT-known', 'entropy']) == (
        '| method | runs | GT-known | entropy |\n'
        '| --- | --: | --: | --: |\n'
        '| cam | 2 | 52.0 ± 2.8 | 0.375 ± 0.177 |\n'
        '| has_x | 2 | **60.0 ± 0.0** | 1.000 ± 0.000 |\n'
        '| missing | 0 |  |  |\n'
    )
    latex = latex_table(table, ['GT-known'])
    assert latex.splitlines()[3:5] == [r'\midrule', r'cam & 2 & 52.0 $\pm$ 2.8 \\']
    assert r'has\_x & 2 & \textbf{60.0 $\pm$ 0.0} \\' in latex


def test_csv_has_full_precision(tmp_path):
    table = summarize({'cam': [{'x': 1 / 3}, {'x': 2 / 3}]})
    rows = list(csv.DictReader(csv_table(table, ['x']).splitlines()))
    assert rows == [
        {'method': 'cam', 'figure': 'x', 'mean': '0.5', 'spread': str(statistics.stdev([1 / 3, 2 / 3])), 'runs': '2'}
    ]
    paths = write_tables(tmp_path / 'deep' / 'table.md', table)
    assert [path.name for path in paths] == ['table.md', 'table.csv', 'table.tex']
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ['table.csv', 'table.md', 'table.tex']
