# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Options that tools share: what they are without being given."""

from __future__ import annotations

import argparse

import pytest

from mmentropy.experiments.arguments import LOSSES, add_comparison_arguments, add_map_arguments
from mmentropy.registry import MODELS


def test_maps_and_truths():
    parser = argparse.ArgumentParser()
    add_map_arguments(parser)
    args = parser.parse_args(['maps', '--metadata', 'folder', '--eval-size', '112', '96'])
    assert (args.maps, args.metadata, args.config, args.eval_size) == ('maps', 'folder', None, [112, 96])
    assert args.jobs >= 1
    with pytest.raises(SystemExit):
        parser.parse_args(['maps', '--metadata', 'folder', '--config', 'one.py'])  # one kind of truth, not two
    with pytest.raises(SystemExit):
        parser.parse_args(['maps'])


def test_comparisons():
    parser = argparse.ArgumentParser()
    add_comparison_arguments(parser)
    args = parser.parse_args(['--work-dir', 'here', '--seeds', '0', '3', '--eval-options', 'a.b=[1,2]'])
    assert (args.seeds, args.eval_options, args.jobs, args.dry_run) == ([0, 3], {'a.b': [1, 2]}, None, False)


def test_the_losses_are_registered():
    assert all(MODELS.get(name) is not None for name in LOSSES.values())
