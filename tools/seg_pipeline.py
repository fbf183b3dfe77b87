# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From image labels to a tested segmenter: ``python tools/seg_pipeline.py configs/voc/resnet18_partshapes_ent_seg.py``.

Every stage is a command of its own: ``--stages crf`` runs that one alone.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from mmentropy.command_line import TASK_LAUNCHERS, add_config_options, one_sentence_errors, positive_int
from mmentropy.processes import children_die_with_us

if TYPE_CHECKING:
    from mmentropy.tasks import Workers


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='pipeline config')
    parser.add_argument('--work-dir', help='one folder a stage inside (default: work_dirs/voc/<config name>)')
    parser.add_argument(
        '--branch', metavar='NAME', help='work in <work dir>@NAME, which takes from it what is the same'
    )
    parser.add_argument('--stages', nargs='+', metavar='NAME', help='only these stages')
    parser.add_argument('--from', dest='start', metavar='NAME', help='this stage and those after it')
    parser.add_argument(
        '--redo', nargs='+', default=(), metavar='NAME', help='make these and what reads from them anew'
    )
    parser.add_argument('--keep', nargs='+', default=(), metavar='NAME', help='take these as they are')
    parser.add_argument(
        '--sweep',
        nargs='+',
        action='append',
        metavar='STAGE.OPTION=VALUE,VALUE',
        help='try all combinations; given again, another grid',
    )
    parser.add_argument('--select-split', default='select', metavar='LIST', help='images that --sweep chooses on')
    parser.add_argument('--sweep-by', metavar='STAGE', help='whose mIoU decides (default: the last before a training)')
    parser.add_argument('--dry-run', action='store_true', help='measure a few images and steps, print the plan')
    parser.add_argument('--jobs', type=positive_int, default=1, help='processes of the stages that work image by image')
    parser.add_argument('--shard', metavar='I/N', help='the I-th of N processes that work in this folder, I from 0')
    parser.add_argument('--launcher', choices=TASK_LAUNCHERS, default='none', help='who has started the processes')
    parser.add_argument('--seed', type=int, help='of the random numbers of every training')
    parser.add_argument('--data-root', help="folder of the data, in place of the config's")
    parser.add_argument('--device', help='of the networks (default: the GPU where there is one)')
    parser.add_argument('--quiet', action='store_true', help='no progress bars')
    add_config_options(parser)
    return parser.parse_args()


def choose_workers(args: argparse.Namespace) -> Workers:
    """Who works: a launcher's processes, or ``--shard I/N``."""
    from mmentropy.tasks import Workers

    if args.shard is None:
        return Workers.of(args.launcher, args.jobs)
    part, _, parts = args.shard.partition('/')
    if args.launcher != 'none':
        raise ValueError(f'--shard and --launcher {args.launcher} both say who works; leave one of them out')
    if not (part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise ValueError(f'--shard wants I/N with 0 <= I < N, got {args.shard!r}')
    # Processes that were started by hand find one another as torchrun's do: through the folder.
    return Workers('torchrun' if int(parts) > 1 else 'none', args.jobs, int(part), int(parts))


def work_dir(args: argparse.Namespace) -> Path:
    """The folder of the run, or of its branch."""
    folder = Path(args.work_dir or Path('work_dirs/voc') / Path(args.config).stem)
    return folder.with_name(f'{folder.name}@{args.branch}') if args.branch else folder


@one_sentence_errors
def main() -> None:
    args = parse_args()
    children_die_with_us()
    from mmentropy.segmentation import RefinerSweep, SeedPipeline
    from mmentropy.segmentation.pipeline import print_plan, print_results
    from mmentropy.segmentation.planning import measured_plan
    from mmentropy.segmentation.refiner_sweep import read_grid

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    options = dict(args.cfg_options or {})
    if args.data_root:
        options['data.root'] = args.data_root
    context = {'jobs': args.jobs, 'quiet': args.quiet, 'workers': choose_workers(args)}
    if args.device:
        context['device'] = args.device
    pipeline = SeedPipeline.from_config(args.config, work_dir(args), options, args.seed, **context)
    if args.dry_run:
        print_plan(measured_plan(pipeline, args.stages, args.start))
    elif args.sweep:
        sweep = RefinerSweep(pipeline, [read_grid(grid) for grid in args.sweep], args.select_split, args.sweep_by)
        sweep.run()
        print((pipeline.ctx.work_dir / 'sweep/sweep.md').read_text(encoding='utf-8'))
    else:
        print_results(pipeline.run(args.stages, args.start, args.redo, args.keep))


if __name__ == '__main__':
    main()
