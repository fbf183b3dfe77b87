# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Class maps, boxes and masks of images: ``python tools/localize.py CONFIG IMAGES... --weights CKPT --out-dir DIR``.

Writes overlays/ (JPEG), boxes.json (COCO), masks/ (PNG) and maps/ (npz, raw). A file that is no image is named and the
rest is done; the exit status is then 1. Images whose map is already there are not computed again. ``--compare`` draws
several methods side by side instead, with deletion and insertion of each map.
"""

import argparse
import sys
import warnings
from pathlib import Path

from mmentropy.command_line import (
    add_weights_arguments,
    one_sentence_errors,
    positive_float,
    positive_int,
    threshold_or_rule,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'model', help='config of mmentropy, mmpretrain or mmsegmentation, or name of an mmpretrain model'
    )
    parser.add_argument('images', nargs='+', type=Path, help='image files and folders')
    add_weights_arguments(parser, "checkpoint; 'pretrained' downloads that of an mmpretrain model")
    parser.add_argument('--out-dir', type=Path, default=Path('localized'), help='default: localized')
    parser.add_argument('--method', default='cam', help='cam, entropy, entropy_cam, grad_cam, ... (default: cam)')
    parser.add_argument(
        '--classes', nargs='+', help='names or numbers of classes, or all (default: the best of each image)'
    )
    parser.add_argument('--topk', type=positive_int, default=1, help='classes an image without --classes')
    parser.add_argument(
        '--against', nargs='+', help='with one class in --classes: explain its logit less the mean of these'
    )
    parser.add_argument(
        '--score-function',
        default='logit',
        help='of a class: logit (default), probability, log_probability, sigmoid, log_sigmoid, margin',
    )
    parser.add_argument(
        '--region', nargs='+', help='of a segmentor: predicted, all, or a box x0 y0 x1 y1 in pixels of the image'
    )
    parser.add_argument(
        '--compare',
        nargs='+',
        metavar='METHOD',
        help='draw these methods side by side instead, with deletion and insertion of each: OUT_DIR/compare/NAME.jpg',
    )
    parser.add_argument('--box', default='largest', help='largest or all boxes of a map')
    parser.add_argument(
        '--threshold',
        type=threshold_or_rule,
        default='mean_share',
        help="share for boxes and masks, or a rule: mean_share (default: the map's own mean), entropy_area, otsu",
    )
    parser.add_argument(
        '--normalize',
        default='max',
        help="what that is a share of: max, the map's maximum; minmax, its height above its minimum (default: max)",
    )
    parser.add_argument(
        '--reading',
        help="how maps are read: protocol (raw), relu, certain, certain+spread (default: the model's, or protocol)",
    )
    parser.add_argument(
        '--grid',
        help="where maps are drawn: followed (their place), measured, half_pixel (default: the model's, or followed)",
    )
    parser.add_argument('--write', nargs='+', default=['overlays', 'boxes', 'masks', 'maps'], help='what to write')
    parser.add_argument(
        '--input-size', type=positive_int, nargs='+', help="height and width, or side; default: the model's"
    )
    parser.add_argument('--target-layer', help='layer whose output is the feature map; default: found')
    parser.add_argument('--scales', type=positive_float, nargs='+', default=[1.0], help='average over input sizes')
    parser.add_argument('--flip', action='store_true', help='average with the mirrored image')
    parser.add_argument('--batch-size', type=positive_int, default=8)
    parser.add_argument(
        '--as-stored', action='store_true', help='do not turn images by their EXIF tag (data sets with annotations)'
    )
    parser.add_argument('--device', help='default: the GPU where there is one')
    parser.add_argument('--shards', action='store_true', help='maps into tar archives, for very many images')
    parser.add_argument('--again', action='store_true', help='compute images again that are already there')
    return parser.parse_args()


def region_of(words: list[str] | None) -> str | list[float] | None:
    """A word, or a box."""
    if not words or len(words) == 1:
        return words[0] if words else None
    try:
        box = [float(word) for word in words]
    except ValueError:
        box = []
    if len(box) != 4:
        raise ValueError(f'--region is predicted, all, or four numbers x0 y0 x1 y1, got {" ".join(words)}')
    return box


def compare_each(localizer, sources: dict, args: argparse.Namespace, asked: dict) -> str:
    """One picture an image."""
    from mmentropy.apis.side_by_side import compare_methods
    from mmentropy.progress import progress_bar
    from mmentropy.visualization.visualizer import write_image

    paths = {name: args.out_dir / 'compare' / f'{name}.jpg' for name in sources}
    with progress_bar() as bar:
        for name in bar.track(list(sources), description='comparing'):
            if args.again or not paths[name].is_file():
                path = str(paths[name])
                options = (args.compare, 320, args.threshold, not args.as_stored)
                write_image(path, compare_methods(localizer, sources[name], *options, **asked))
    return f'{len(paths)} picture(s) of {len(args.compare)} methods in {args.out_dir / "compare"}'


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.apis import Localizer
    from mmentropy.apis.images import name_images
    from mmentropy.apis.localizer import READING
    from mmentropy.apis.writing import ResultWriter, content_of
    from mmentropy.progress import progress_bar
    from mmentropy.structures import height_and_width

    warnings.filterwarnings('ignore')  # of the hosts, at import
    sources = name_images(args.images)
    size = args.input_size and height_and_width(args.input_size, '--input-size')
    localizer = Localizer(
        args.model,
        args.weights,
        args.device,
        args.batch_size,
        size,
        args.trust_checkpoint,
        args.random_weights,
        exif=not args.as_stored,
        target_layer=args.target_layer,
        scales=args.scales,
        flip=args.flip,
        reading=args.reading,
        grid=args.grid,
        score_function=args.score_function,
    )
    classes = args.classes and [int(c) if c.isdigit() else c for c in args.classes]
    classes = 'all' if classes == ['all'] else classes
    target = args.against and localizer.difference(classes, [int(c) if c.isdigit() else c for c in args.against])
    asked = {'classes': None if target else classes, 'targets': target or None, 'region': region_of(args.region)}
    if args.compare:
        print(compare_each(localizer, sources, args, asked))
        return
    options = (asked['classes'], args.method, args.box, args.threshold, args.topk)
    views = (args.target_layer, args.scales, args.flip, args.as_stored, args.normalize)
    reading = args.reading or f"the model's or {READING}"
    scored = (args.score_function, args.classes, args.against, args.region)
    # By content: a config, or weights under the same name, may be others today.
    made_by = [content_of(part) for part in (args.model, args.weights)]
    settings = repr((*made_by, size, *views, reading, args.grid, options, scored))
    upright = not args.as_stored
    writer = ResultWriter(args.out_dir, tuple(args.write), localizer.classes, settings, upright, args.shards)
    results = {} if args.again else {name: writer.done(name, source) for name, source in sources.items()}
    todo = [name for name in sources if results.get(name) is None]
    failed = []
    with progress_bar() as bar:
        asked.pop('classes')
        stream = localizer.stream([sources[name] for name in todo], *options, normalize=args.normalize, **asked)
        for result, name in zip(bar.track(stream, total=len(todo), description='localising'), todo):
            result.name = name
            problem = result.error or writer.write_or_tell(result, sources[name])
            if problem:
                failed.append(problem)
                bar.console.print(problem, markup=False, highlight=False, soft_wrap=True)
                continue
            results[name] = result
    for name in sources:
        if results.get(name) is not None:
            writer.add(results[name])
    writer.close()
    print(f'{len(writer.images)} image(s), {len(writer.annotations)} box(es) in {args.out_dir}; {len(failed)} refused')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
