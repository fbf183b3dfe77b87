# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Evaluate a checkpoint: ``python tools/test.py CONFIG CHECKPOINT [--out metrics.json] [--show-dir DIR]``."""

import argparse
import os

from mmentropy.command_line import add_run_arguments, one_sentence_errors, positive_int


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    add_run_arguments(parser)
    parser.add_argument('--out', help='write the metrics (.json) or the predictions (.pkl) there')
    parser.add_argument(
        '--threshold-from',
        metavar='JSON',
        help='metrics of another split (--out of its test): also report the figures at the thresholds chosen there',
    )
    parser.add_argument('--show-dir', help='write panels with boxes and maps there')
    parser.add_argument('--report', action='store_true', help='gather what tools/report.py WORK_DIR shows')
    parser.add_argument('--show', action='store_true', help='show the panels in a window')
    parser.add_argument('--interval', type=positive_int, default=1, help='a panel for every n-th image')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds a window stays')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.engine import build_runner, dataloader_of, load_config, run_header, set_work_dir, start_processes

    if args.out and not args.out.endswith(('.json', '.pkl')):
        raise ValueError(f'--out must end with .json (metrics) or .pkl (predictions), got {args.out}')
    if not os.path.isfile(args.checkpoint) and '://' not in args.checkpoint:
        raise FileNotFoundError(f'checkpoint {args.checkpoint} does not exist')
    cfg = load_config(args.config, args.cfg_options)
    dataloader_of(cfg, 'test')
    set_work_dir(cfg, args.config, args.work_dir)
    cfg.load_from = args.checkpoint
    if args.amp:
        cfg.test_cfg = {**(cfg.get('test_cfg') or {}), 'fp16': True}
    if args.show or args.show_dir:
        hook = (cfg.get('default_hooks') or {}).get('visualization')
        if hook is None:
            raise ValueError(f'--show and --show-dir need default_hooks.visualization, and {args.config} has none')
        hook.update(
            enable=True, show=args.show, out_dir=args.show_dir, interval=args.interval, wait_time=args.wait_time
        )
    if args.report:
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='mmentropy.ReportHook')]
    if args.threshold_from:
        from mmentropy.evaluation.thresholds import use_thresholds_from

        use_thresholds_from(cfg.get('test_evaluator') or [], args.threshold_from)
    start_processes(cfg, args.launcher)
    runner = build_runner(cfg, args.trust_checkpoint, args.verbose)
    if runner.rank == 0 and not args.verbose:
        print(run_header(runner))
    if args.out and args.out.endswith('.pkl'):
        from mmengine.evaluator import DumpResults

        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    metrics = runner.test()
    if args.out and args.out.endswith('.json') and runner.rank == 0:
        from mmentropy.evaluation.thresholds import save_metrics

        save_metrics(args.out, metrics)


if __name__ == '__main__':
    main()
