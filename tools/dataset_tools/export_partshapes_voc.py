# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Write PartShapes scenes in the layout of PASCAL VOC 2012:
``python tools/dataset_tools/export_partshapes_voc.py --dst data/partshapes_voc/VOC2012``."""

import argparse

from mmentropy.command_line import one_sentence_errors, positive_int


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--dst', default='data/partshapes_voc/VOC2012', help='directory that becomes VOC2012')
    parser.add_argument('--train', type=positive_int, default=400, help='training scenes')
    parser.add_argument('--val', type=int, default=100, help='validation scenes')
    parser.add_argument('--classes', type=positive_int, default=5, help='number of classes, named as the first of VOC')
    parser.add_argument('--size', type=positive_int, default=96, help='side of the images, pixels')
    parser.add_argument('--objects', type=int, nargs=2, default=(1, 3), help='smallest and largest number an image')
    parser.add_argument('--cooccurrence', type=float, default=0.5, help='of background and first class')
    parser.add_argument('--border', type=int, default=1, help='ignored pixels on each side of an outline')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    from rich.progress import Progress

    from mmentropy.datasets.preparing.voc_export import export_voc

    with Progress(transient=True) as bar:
        task = bar.add_task('drawing', total=args.train + args.val)
        counts = export_voc(
            args.dst,
            args.train,
            args.val,
            args.border,
            lambda: bar.advance(task),
            num_classes=args.classes,
            image_size=args.size,
            num_objects=tuple(args.objects),
            cooccurrence=args.cooccurrence,
            seed=args.seed,
        )
    print(f'{counts["train"]} training and {counts["val"]} validation scenes → {args.dst}')


if __name__ == '__main__':
    main()
