# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Look at a config's data: ``python tools/browse_dataset.py CONFIG --split val --number 24 --out grid.png``.

Boxes and outlines of the object (green), the discriminative part (red), ignored pixels (grey) and the query tile of a
mosaic (blue) on the original images; with ``--mode pipeline`` the images as the model gets them.
"""

import argparse
from pathlib import Path

from mmentropy.command_line import add_config_options, one_sentence_errors, positive_int


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train', help='which dataloader')
    parser.add_argument('--mode', choices=['original', 'pipeline'], default='original')
    parser.add_argument('--number', type=positive_int, default=24, help='images')
    parser.add_argument('--start', type=int, default=0, help='index of the first image')
    parser.add_argument('--step', type=positive_int, default=1, help='take every n-th image')
    parser.add_argument('--columns', type=positive_int, default=8)
    parser.add_argument('--side', type=positive_int, default=160, help='side of a tile, pixels')
    parser.add_argument('--colors', type=positive_int, help='paint with so many colours only: a small file for a page')
    parser.add_argument('--out', default='work_dirs/browse.png', help='picture to write')
    add_config_options(parser)
    args = parser.parse_args()
    from mmentropy.datasets.palette import few_colors_png
    from mmentropy.datasets.preparing.prepare import write_file
    from mmentropy.engine import build_dataset, load_config
    from mmentropy.visualization.browse import draw_sample, montage, original_sample, packed_image
    from mmentropy.visualization.visualizer import write_image

    cfg = load_config(args.config, args.cfg_options)
    data = build_dataset(cfg, args.split)
    classes = data.metainfo.get('classes')
    indices = range(args.start, len(data), args.step)[: args.number]
    if not indices:
        raise ValueError(f'--start {args.start}: the split has {len(data)} images')
    tiles = []
    for index in indices:
        if args.mode == 'original':
            info = original_sample(data, index)
        else:
            info = dict(img=packed_image(data[index]), gt_label=data.get_cat_ids(index))
        tiles.append(draw_sample(info, args.side, classes))
    picture = montage(tiles, args.columns)
    if args.colors:
        write_file(Path(args.out), few_colors_png(picture, args.colors))
    else:
        write_image(args.out, picture)
    print(f'{len(tiles)} of {len(data)} images → {args.out}')


if __name__ == '__main__':
    main()
