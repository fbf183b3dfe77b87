# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Fine-grained classes by localisation: a linear SVM on full images, on crops by the CAM box, on crops by the true box.

``python tools/analysis_tools/crop_and_classify.py CONFIG --weights CKPT``, on CUB or any set with boxes. The CAM box is
that of the predicted class's map, at 20 % of its maximum, negative evidence cut (``--normalize max``; ``minmax`` takes
20 % of the map's range): no annotation goes into it. Needs scikit-learn.
"""

import argparse
from functools import partial

from mmentropy.command_line import (
    add_config_options,
    add_weights_arguments,
    one_sentence_errors,
    positive_float,
    positive_int,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the network and the data')
    add_weights_arguments(parser)
    parser.add_argument('--train-split', default='train', help='train, val or test')
    parser.add_argument('--test-split', default='test', help='train, val or test')
    parser.add_argument('--max-images', type=positive_int, help='of each split, evenly spread')
    parser.add_argument('--threshold', type=float, default=0.2, help='of the CAM box (default: 0.2)')
    parser.add_argument('--normalize', default='max', help="share of the map's maximum (max) or of its range (minmax)")
    parser.add_argument('--c', type=positive_float, default=1.0, help='penalty of the SVM')
    parser.add_argument('--batch-size', type=positive_int, default=32)
    add_config_options(parser)
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from rich.console import Console
    from rich.table import Table

    from mmentropy.experiments.analysis import CROPS, by_cam, dataset_features, linear_svm, open_run, photos

    reader, sets = open_run(args.config, args.weights, args.cfg_options, args.trust_checkpoint, args.random_weights)
    table = Table('training and testing on', 'top-1 %', title=args.config)
    for name, view in CROPS.items():
        if view is by_cam:
            view = partial(by_cam, threshold=args.threshold, normalize=args.normalize)
        train, test = (
            dataset_features(reader, photos(sets[split], args.max_images), view, args.batch_size)
            for split in (args.train_split, args.test_split)
        )
        table.add_row(name, f'{linear_svm(train, test, args.c):.2f}')
    Console().print(table)


if __name__ == '__main__':
    main()
