# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Options that several tools share; nothing heavy is imported here, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
import os

from mmentropy.command_line import add_config_options, positive_int

#: What the sweep calls a loss, and its type.
LOSSES = {
    'er': 'mmentropy.EntropyRegularizedLoss',
    'cp': 'mmentropy.ConfidencePenaltyLoss',
    'jeffreys': 'mmentropy.JeffreysPenaltyLoss',
    'ls': 'mmentropy.EntropyRegularizedLoss',
}


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which maps, against which ground truths, and how to run."""
    parser.add_argument('maps', help='folder of <image_id>.npy, .npz or .png, or of tar shards of them')
    parser.add_argument('--predictions', metavar='CSV', help='rows image_id,best,second,…: for Top-1 and Top-5')
    parser.add_argument(
        '--grid',
        choices=['sample', 'half_pixel'],
        default='sample',
        help="sample draws maps where their file's grid says that they look (default; foreign files have none); "
        'half_pixel as cv2.resize whatever it says, for comparison with published figures',
    )
    parser.add_argument('--allow-missing', action='store_true', help='exit with 0 in spite of faulty images')
    parser.add_argument('--no-resume', action='store_true', help='start anew where an earlier run was interrupted')
    parser.add_argument(
        '--launcher',
        choices=['none', 'torchrun', 'slurm', 'ray'],
        default='none',
        help='who works: processes of this machine (default), the ranks that torchrun or srun has started with this '
        'command, or the Ray cluster at RAY_ADDRESS',
    )
    add_truth_arguments(parser)


def add_truth_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which ground truths, at which size, with how many processes."""
    truths = parser.add_mutually_exclusive_group(required=True)
    truths.add_argument('--metadata', metavar='DIR', help='folder of image_ids.txt, class_labels.txt, …')
    truths.add_argument('--config', help="config whose data set's ground truths are taken")
    parser.add_argument(
        '--split', choices=['val', 'test'], default='test', help="with --config: which dataloader's set"
    )
    add_config_options(parser, told='with --config: override its keys: key=value ...')
    parser.add_argument('--mask-root', default='', metavar='DIR', help="with --metadata: where the masks' paths begin")
    parser.add_argument(
        '--eval-size', nargs='+', type=int, default=[224], metavar='PIXELS', help='side, or height width'
    )
    parser.add_argument('--jobs', type=positive_int, default=_cores(), help='processes (default: all cores)')


def add_comparison_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every tool with runs of its own has."""
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], help='seeds of each setting (default: 0)')
    parser.add_argument('--work-dir', required=True, help='where runs lie: DIR/<name>/seed<n>')
    parser.add_argument('--out', help='name of what is written, without suffix (default: a name in the work dir)')
    add_config_options(parser, told='override config keys of every run')
    parser.add_argument(
        '--eval-configs',
        nargs='+',
        default=[],
        metavar='[NAME=]CONFIG',
        help='configs whose test_dataloader and test_evaluator also judge every model, e.g. mosaic=..._mosaic.py',
    )
    add_config_options(parser, '--eval-options', 'override keys of --eval-configs')
    parser.add_argument('--jobs', type=positive_int, help='runs at once (default: one a GPU, or one on the CPU)')
    parser.add_argument('--dry-run', action='store_true', help='say what is finished and what is missing, run nothing')


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
