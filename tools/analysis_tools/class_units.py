# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class-specific units: those with the largest weight for a class, with the image regions that excite them most.

``python tools/analysis_tools/class_units.py CONFIG --weights CKPT --class NAME --out units.png``
"""

import argparse

from mmentropy.command_line import add_config_options, add_weights_arguments, one_sentence_errors, positive_int


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the network and the data')
    add_weights_arguments(parser)
    parser.add_argument('--class', dest='label', required=True, help='name or number of the class')
    parser.add_argument('--split', default='test', help='train, val or test')
    parser.add_argument('--units', type=positive_int, default=5)
    parser.add_argument('--images', type=positive_int, default=6, help='regions a unit')
    parser.add_argument('--threshold', type=float, default=0.5, help="share of the unit's maximum in an image")
    parser.add_argument('--normalize', default='max', help='max for that share, or minmax (share of the range)')
    parser.add_argument('--max-images', type=positive_int, help='to search, evenly spread')
    parser.add_argument('--out', default='class_units.png', help='picture to write')
    add_config_options(parser)
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.experiments.analysis import class_number, class_units, open_run, photos
    from mmentropy.visualization.panels import draw_units
    from mmentropy.visualization.visualizer import write_image

    reader, sets = open_run(args.config, args.weights, args.cfg_options, args.trust_checkpoint, args.random_weights)
    data = sets[args.split]
    label = class_number(args.label, data.metainfo['classes'])
    items = photos(data, args.max_images)
    counts = (args.units, args.images)
    units = class_units(reader, items, label, *counts, args.threshold, normalize=args.normalize)
    write_image(args.out, draw_units(units))
    for unit, weight, regions in units:
        print(f'unit {unit}: weight {weight:.4f}, strongest in {regions[0].name} ({regions[0].value:.3f})')
    print(args.out)


if __name__ == '__main__':
    main()
