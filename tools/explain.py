# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Images by several methods side by side: ``python tools/explain.py MODEL IMAGES... --weights CKPT --out grid.jpg``."""

import argparse
from pathlib import Path

from mmentropy.command_line import add_weights_arguments, one_sentence_errors, positive_int, threshold_or_rule


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'model', help='config of mmentropy, mmpretrain or mmsegmentation, or name of an mmpretrain model'
    )
    parser.add_argument('images', nargs='+', type=Path, help='image files and folders, a row each')
    add_weights_arguments(parser, "checkpoint; 'pretrained' downloads that of an mmpretrain model")
    parser.add_argument(
        '--methods', nargs='+', default=['cam', 'entropy', 'entropy_cam', 'grad_cam'], help='a column each'
    )
    parser.add_argument('--class', dest='label', help='name or number of the class (default: the best of each image)')
    parser.add_argument('--threshold', type=threshold_or_rule, default='mean_share', help='of the boxes, or a rule')
    parser.add_argument('--tile', type=positive_int, default=240, help='side of a picture, pixels')
    parser.add_argument('--device', help='default: the GPU where there is one')
    parser.add_argument('--out', default='explained.jpg', help='picture to write (default: explained.jpg)')
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.apis import Localizer
    from mmentropy.apis.side_by_side import side_by_side
    from mmentropy.visualization.visualizer import write_image

    localizer = Localizer(args.model, args.weights, args.device, 1, None, args.trust_checkpoint, args.random_weights)
    label = int(args.label) if args.label and args.label.isdigit() else args.label

    def look(method: str):
        return lambda image: localizer(image, classes=label, method=method)[0]

    picture = side_by_side(args.images, {method: look(method) for method in args.methods}, args.tile, args.threshold)
    write_image(args.out, picture)
    print(f'{args.out}: {len(args.methods)} methods, {picture.shape[1]}×{picture.shape[0]} pixels')


if __name__ == '__main__':
    main()
