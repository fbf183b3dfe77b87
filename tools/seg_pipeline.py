# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From image labels to a tested segmenter: ``python tools/seg_pipeline.py configs/voc/resnet18_partshapes_ent_seg.py``.

Every stage is a command of its own: ``--stages crf`` runs that one alone.
"""

import argparse
import logging

from mmentropy.command_line import add_config_options, one_sentence_errors, positive_int


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='pipeline config')
    parser.add_argument('--work-dir', help='one folder a stage inside (default: work_dirs/voc/<config name>)')
    parser.add_argument('--stages', nargs='+', metavar='NAME', help='only these stages')
    parser.add_argument('--from', dest='start', metavar='NAME', help='this stage and those after it')
    parser.add_argument('--dry-run', action='store_true', help='print the plan with estimated time and disk')
    parser.add_argument('--jobs', type=positive_int, default=1, help='processes of the stages that work image by image')
    parser.add_argument('--shard', metavar='I/N', help='work on every N-th image from the I-th only, I from 0')
    parser.add_argument('--data-root', help="folder in the layout of VOC2012, in place of the config's")
    parser.add_argument('--device', help='of the networks (default: the GPU where there is one)')
    parser.add_argument('--quiet', action='store_true', help='no progress bars')
    add_config_options(parser)
    return parser.parse_args()


def parse_shard(text: str | None) -> tuple[int, int]:
    """``I/N``."""
    part, _, parts = (text or '0/1').partition('/')
    if not (part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise ValueError(f'--shard wants I/N with 0 <= I < N, got {text!r}')
    return int(part), int(parts)


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.segmentation import SeedPipeline
    from mmentropy.segmentation.pipeline import print_plan, print_results

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    options = dict(args.cfg_options or {})
    if args.data_root:
        options['data.root'] = args.data_root
    context = {'jobs': args.jobs, 'quiet': args.quiet, 'shard': parse_shard(args.shard)}
    if args.device:
        context['device'] = args.device
    pipeline = SeedPipeline.from_config(args.config, args.work_dir, options, **context)
    if args.dry_run:
        print_plan(pipeline.plan(args.stages, args.start))
    else:
        print_results(pipeline.run(args.stages, args.start))


if __name__ == '__main__':
    main()
