# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Counts add up by name, and what is wrong with a sample names the sample and its reader."""

import numpy as np
import pytest

from mmentropy.evaluation.case_counter import CaseCounter, add_counts


class Largest(CaseCounter):
    grid, prefix = 'sample', 'wsol'

    def count_case(self, case):
        if case.label < 0:
            raise ValueError('its label is below 0')
        return {'labels': np.array(case.label)}

    def figures(self, totals):
        return {'sum': int(totals['labels'])}


def test_counts_of_samples_add_up():
    totals = {}
    for label in (3, 4):
        add_counts(totals, Largest().count({'gt_label': [label]}))
    assert Largest().figures(totals) == {'sum': 7}


@pytest.mark.parametrize(
    ('sample', 'error', 'message'),
    [
        ({'img_path': 'a.jpg'}, KeyError, "a.jpg has no 'gt_label', which Largest reads"),
        ({'img_path': 'a.jpg', 'gt_label': [-1]}, ValueError, 'a.jpg: its label is below 0'),
    ],
)
def test_errors_name_sample_and_reader(sample, error, message):
    with pytest.raises(error, match=message):
        Largest().count(sample)
