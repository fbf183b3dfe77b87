# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Features of a frozen trunk, computed once: ``python tools/cache_features.py CONFIG --out DIR``.

Writes a folder a split (half precision, in shards; a stopped run goes on) and ``DIR/<config>_cached.py``, which
``tools/train.py`` trains the head with. Other heads on the same trunk find the features there. ``--join HEAD.pth
WHOLE.pth`` then puts trunk and trained head into one checkpoint for the config itself. See docs/frozen.md.
"""

import argparse

from mmentropy.command_line import add_config_options, one_sentence_errors, positive_int


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config with model.freeze_backbone=True')
    parser.add_argument('--out', help='folder of the features')
    parser.add_argument('--splits', nargs='+', default=['train', 'val', 'test'], choices=('train', 'val', 'test'))
    parser.add_argument('--views', type=positive_int, default=4, help='random crops and flips of a training image')
    parser.add_argument('--seed', type=int, default=0, help='of the views')
    parser.add_argument('--precision', default='float16', choices=('float16', 'float32'))
    parser.add_argument('--batch-size', type=positive_int, default=32)
    parser.add_argument('--workers', type=int, default=0, help='processes that load images')
    parser.add_argument('--device', help='of the trunk; default: the GPU where there is one')
    parser.add_argument('--join', nargs=2, metavar=('HEAD', 'WHOLE'), help='a head’s checkpoint, and the one to write')
    add_config_options(parser)
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.engine import load_config, usable_device
    from mmentropy.experiments.feature_caching import cache_config, join_head

    cfg, device = load_config(args.config, args.cfg_options), usable_device(args.device)
    if args.join:
        join_head(cfg, *args.join, device=device)
        print(f'{args.join[1]}: the trunk of {args.config} and the head of {args.join[0]}')
        return
    if args.out is None:
        raise ValueError('name the folder of the features: --out DIR')
    options = dict(seed=args.seed, precision=args.precision, batch_size=args.batch_size, workers=args.workers)
    cache_config(cfg, args.out, args.splits, args.views, device, **options)


if __name__ == '__main__':
    main()
