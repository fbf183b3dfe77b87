# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Train a model from a config: ``python tools/train.py configs/wsol/resnet50_cub_ent.py``."""

import argparse

from mmentropy.command_line import add_run_arguments, one_sentence_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_run_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from the given checkpoint, or from the latest one in the work dir if none is given',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: fp16 on a GPU, bf16 on the CPU')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.engine import (
        dataloader_of,
        load_config,
        set_work_dir,
        start_processes,
        train,
        use_amp,
    )

    cfg = load_config(args.config, args.cfg_options)
    dataloader_of(cfg, 'train')
    set_work_dir(cfg, args.config, args.work_dir)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        use_amp(cfg)
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        if 'auto_scale_lr' not in cfg:
            raise ValueError(f'--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in {args.config}')
        cfg.auto_scale_lr.enable = True
    start_processes(cfg, args.launcher)
    train(cfg, args.trust_checkpoint, args.verbose, header=not args.verbose)


if __name__ == '__main__':
    main()
