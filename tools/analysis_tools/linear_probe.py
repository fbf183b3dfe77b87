# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Generic features: a linear SVM on the pooled features of any config, trained and tested on its data set's splits.

``python tools/analysis_tools/linear_probe.py CONFIG --weights CKPT [--data OTHER_CONFIG ...]``. The features are what
the classifier reads (``classifier``): pooled as the config's neck does, or those of a fully connected layer; or the
global average of the last map (``gap``). Several sets or features give one table. Needs scikit-learn.
"""

import argparse
from pathlib import Path

from mmentropy.command_line import (
    add_config_options,
    add_weights_arguments,
    one_sentence_errors,
    positive_float,
    positive_int,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the network')
    add_weights_arguments(parser)
    parser.add_argument('--data', nargs='+', help='configs whose data sets are probed (default: the network’s own)')
    parser.add_argument(
        '--features',
        nargs='+',
        choices=['classifier', 'gap'],
        default=['classifier'],
        help='which vectors (classifier)',
    )
    parser.add_argument('--train-split', default='train', help='train, val or test')
    parser.add_argument('--test-split', default='test', help='train, val or test')
    parser.add_argument('--max-images', type=positive_int, help='of each split, evenly spread')
    parser.add_argument(
        '--c', type=positive_float, nargs='+', default=[1.0], help='penalty of the SVM; several give several lines'
    )
    parser.add_argument('--batch-size', type=positive_int, default=32)
    add_config_options(parser)
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from rich.console import Console
    from rich.table import Table

    from mmentropy.experiments.analysis import dataset_features, linear_svm, open_datasets, open_run, photos

    reader, sets = open_run(args.config, args.weights, args.cfg_options, args.trust_checkpoint, args.random_weights)
    table = Table('data', 'features', 'C', 'top-1 %', title=args.config)
    for data in args.data or [args.config]:
        sets = open_datasets(data) if args.data else sets
        for kind in args.features:
            train, test = (
                dataset_features(reader, photos(sets[split], args.max_images), batch_size=args.batch_size, kind=kind)
                for split in (args.train_split, args.test_split)
            )
            print(f'{len(train[1])} images to train on, {len(test[1])} to test on, {train[0].shape[1]} features')
            for c in args.c:
                accuracy = f'{linear_svm(train, test, c):.2f}'
                table.add_row(Path(data).stem, kind, f'{c:g}', accuracy)
                print(f'C = {c:g}: top-1 {accuracy} %')
    if table.row_count > 1:
        Console().print(table)


if __name__ == '__main__':
    main()
