# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Plain CAM and the entropy recipe side by side: trained on drawn images, or at once, or on your photograph.

Without options both are trained, in four minutes on two cores (`make demo`). ``--quick`` takes the networks that come
with the package. ``--image`` reads an ImageNet network's maps both ways.
"""

import argparse
from pathlib import Path

from mmentropy.command_line import add_config_options, one_sentence_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='default: work_dirs/demo')
    parser.add_argument('--quick', action='store_true', help='no training: 100 images, with the weights of the package')
    parser.add_argument(
        '--image', nargs='+', type=Path, metavar='PHOTO', help="your images, by torchvision's ResNet-50 or --network"
    )
    parser.add_argument(
        '--network',
        default='resnet50',
        metavar='NAME',
        help="with --image: torchvision's or timm's",
    )
    parser.add_argument('--weights', metavar='FILE', help='with --image: its weights, where they cannot be downloaded')
    parser.add_argument('--save-weights', type=Path, metavar='FILE', help='keep both networks in one small file')
    add_config_options(parser)
    return parser.parse_args()


def on_photographs(args: argparse.Namespace) -> None:
    """The two readings of one ImageNet network."""
    from mmentropy.apis import Localizer
    from mmentropy.apis.side_by_side import side_by_side
    from mmentropy.experiments.demo import named_network
    from mmentropy.visualization.visualizer import write_image

    network, address = named_network(args.network)
    weights = args.weights or address
    if weights is None:
        raise ValueError(f'{args.network} is a network of timm: give the file of its weights with --weights FILE')
    usual = Localizer(network, weights, reading='protocol', grid='half_pixel')
    certain = Localizer(network, reading='certain+spread')
    looks = {
        'plain CAM as usual': lambda image: usual(image)[0],
        'the same, by certainty': lambda image: certain(image)[0],
    }
    path = args.work_dir / 'photo_maps.jpg'
    write_image(str(path), side_by_side(args.image, looks, tile=320))
    print(f'maps side by side: {path}')


@one_sentence_errors
def main() -> None:
    args = parse_args()
    if args.image:
        on_photographs(args)
        return
    import warnings

    from rich.console import Console

    from mmentropy.experiments.demo import (
        CENTER,
        QUICK,
        WEIGHTS,
        center_box,
        draw_demo,
        run_models,
        save_weights,
        summarize_demo,
    )

    warnings.filterwarnings('ignore')
    options = {**(QUICK if args.quick else {}), **(args.cfg_options or {})}
    configs = Path(__file__).parents[1] / 'configs'
    results = run_models(configs, args.work_dir, options, weights=WEIGHTS if args.quick else None)
    if args.save_weights:
        save_weights(results, args.save_weights)
    runner = next(iter(results.values()))[1]
    figures = {title: values for title, (values, _) in results.items()}
    figures[CENTER] = center_box(runner)
    table, sentence = summarize_demo(figures, len(runner.test_dataloader.dataset))
    console = Console(width=max(100, Console().width))
    console.print(table)
    console.print(sentence, style='bold')
    draw_demo(results, args.work_dir / 'maps.png')
    print(f'maps side by side: {args.work_dir / "maps.png"}')


if __name__ == '__main__':
    main()
