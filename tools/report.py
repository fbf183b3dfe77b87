# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""One HTML page for a run: ``python tools/report.py WORK_DIR``.

Reads WORK_DIR/report.npz, which a test with mmentropy.ReportHook writes. Where it is missing (or with --again), the
run's last checkpoint is tested first, with the config that training left in WORK_DIR. The folder of a segmentation
pipeline gives its stages, IoU by class, and a gallery of every step.
"""

import argparse
import sys
from pathlib import Path

from mmentropy.command_line import add_config_options, one_sentence_errors, positive_int


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='folder of the run')
    parser.add_argument('--out', type=Path, help='default: WORK_DIR/report.html')
    parser.add_argument('--title', help='heading (default: name of the folder)')
    parser.add_argument('--threshold', type=float, help='for the boxes shown (default: the best on this split)')
    parser.add_argument('--max-images', type=positive_int, default=500, help='images in the gallery')
    parser.add_argument('--again', action='store_true', help='test again')
    parser.add_argument('--checkpoint', help='default: the last one in WORK_DIR')
    add_config_options(parser)
    parser.add_argument('--trust-checkpoint', action='store_true', help='allow checkpoints that run code when loaded')
    return parser.parse_args()


def test(args: argparse.Namespace) -> None:
    """Test the run's checkpoint with the hook that keeps what the report shows."""
    from mmentropy.engine import build_runner, dataloader_of, load_config, start_processes
    from mmentropy.engine.checkpoint import latest_whole

    configs = sorted(args.work_dir.glob('*.py'))
    if len(configs) != 1:
        below = sorted(str(path.parent) for path in args.work_dir.rglob('last_checkpoint'))
        there = f'; runs below it: {", ".join(below)}' if below else ''
        raise FileNotFoundError(f'{args.work_dir}: expected one config (.py) of the run, found {len(configs)}{there}')
    cfg = load_config(str(configs[0]), args.cfg_options)
    dataloader_of(cfg, 'test')
    # Not the run's own folder: the runner writes its config down, and that of the training is to stay.
    cfg.work_dir = str(args.work_dir / 'report')
    last, _ = latest_whole(args.work_dir)
    cfg.load_from = args.checkpoint or (last and str(last))
    if not cfg.load_from:
        raise FileNotFoundError(f'{args.work_dir}: no whole checkpoint; train first, or name one with --checkpoint')
    hook = dict(type='mmentropy.ReportHook', max_images=args.max_images, out_file=str(args.work_dir / 'report.npz'))
    others = [other for other in cfg.get('custom_hooks') or [] if other.get('type') != hook['type']]
    cfg.custom_hooks = [*others, hook]
    cfg.resume = False
    start_processes(cfg, 'none')
    build_runner(cfg, args.trust_checkpoint).test()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.safe_files import write_whole
    from mmentropy.visualization.report import render_report
    from mmentropy.visualization.report_data import ReportData

    if not args.work_dir.is_dir():
        raise FileNotFoundError(f'{args.work_dir}: no such folder')
    out = args.out or args.work_dir / 'report.html'
    if (args.work_dir / 'manifest.json').is_file():  # of a segmentation pipeline
        from mmentropy.segmentation.pipeline_report import pipeline_report

        page = pipeline_report(args.work_dir, args.title or '', args.max_images).encode()
        write_whole(out, page)
        print(f'{out}: {len(page) / 1e6:.1f} MB')
        return
    stored = args.work_dir / 'report.npz'
    if args.again or not stored.is_file():
        test(args)
    else:
        newer = [path.name for path in args.work_dir.glob('*.pth') if path.stat().st_mtime > stored.stat().st_mtime]
        if newer:
            print(f'{stored} is older than {", ".join(sorted(newer))}: --again tests the latest', file=sys.stderr)
    page = render_report(ReportData.load(stored), args.title or args.work_dir.resolve().name, args.threshold).encode()
    write_whole(out, page)
    print(f'{out}: {len(page) / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
