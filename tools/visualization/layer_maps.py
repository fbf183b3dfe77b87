# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What every layer of a network shows of an image, as one picture.

``python tools/visualization/layer_maps.py CONFIG IMAGE --weights CKPT --out layers.png``: the image, and the mean over
the channels of each layer's map, from the first to the last.
"""

from __future__ import annotations

import argparse

from mmentropy.command_line import add_config_options, add_weights_arguments, one_sentence_errors, positive_int


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of the network')
    parser.add_argument('image', help='image file')
    add_weights_arguments(parser)
    parser.add_argument(
        '--layers', nargs='+', default=[], help="names of the backbone's modules (default: its children)"
    )
    parser.add_argument('--out', required=True, help='picture to write')
    parser.add_argument('--tile', type=positive_int, default=160, help='side of a picture, pixels (default: 160)')
    add_config_options(parser)
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.engine import load_config
    from mmentropy.engine.model_loading import load_model
    from mmentropy.experiments.layer_maps import layer_maps
    from mmentropy.image_files import read_image
    from mmentropy.visualization.panels import draw_layers
    from mmentropy.visualization.visualizer import write_image

    cfg = load_config(args.config, args.cfg_options)
    image = read_image(args.image)
    options = dict(trust_checkpoint=args.trust_checkpoint, random_weights=args.random_weights)
    found = layer_maps(load_model(cfg, args.weights, **options), image, args.layers)
    write_image(args.out, draw_layers(image, found, args.tile))
    print(f'wrote {args.out}: {len(found)} layers')


if __name__ == '__main__':
    main()
