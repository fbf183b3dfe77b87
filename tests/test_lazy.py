# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Names that a package has on demand: all of them are there, and what needs no host is loaded without one."""

import importlib
import subprocess
import sys

import pytest

HEAVY = ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmseg', 'matplotlib')


@pytest.mark.parametrize('package', ['mmentropy.datasets', 'mmentropy.evaluation'])
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    assert len(module.__all__) > 10
    assert all(getattr(module, name).__name__ == name for name in module.__all__)
    assert set(module.__all__) <= set(dir(module))


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match=r"'mmentropy.evaluation' has no attribute 'NoSuchMetric'"):
        importlib.import_module('mmentropy.evaluation').NoSuchMetric  # noqa: B018


def test_what_counts_boxes_loads_neither_torch_nor_a_host():
    code = (
        'import sys\n'
        'import mmentropy.evaluation.box_counter, mmentropy.evaluation.offline, mmentropy.evaluation.plots\n'
        'import mmentropy.datasets.readers.truths, mmentropy.experiments.map_evaluation, mmentropy.progress\n'
        f'print([name for name in {HEAVY} if name in sys.modules])'
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == '[]\n'
