# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Evaluate score maps made by any framework: ``python tools/eval_maps.py MAPS --metadata DIR``.

MAPS is a folder of ``<image_id>.npy``, ``.npz`` or 8-bit ``.png``; DIR holds the public ``image_ids.txt``,
``class_labels.txt``, ``image_sizes.txt`` and ``localization.txt``; ``--config`` takes any of our data sets instead.
Faulty images are listed at the end and the exit code is 1, while the figures of the others are written.
"""

import argparse
import sys

from mmentropy.command_line import one_sentence_errors, positive_float, threshold_or_rule
from mmentropy.experiments.arguments import add_map_arguments


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_map_arguments(parser)
    parser.add_argument('--out', help='figures as JSON (default: MAPS.json beside the folder); the plot is its .png')
    parser.add_argument('--iou-thrs', nargs='+', type=int, default=[30, 50, 70], metavar='PERCENT')
    parser.add_argument('--contours', choices=['all', 'largest'], default='all', help='V2, or V1 (largest contour)')
    parser.add_argument('--cam-interval', type=positive_float, default=0.001, help='distance between thresholds')
    parser.add_argument(
        '--threshold',
        type=threshold_or_rule,
        help='also report the figures at this threshold (@fixed), or where each map has its own: auto, entropy_area, '
        'mean_share, otsu (@auto, …)',
    )
    parser.add_argument('--threshold-from', metavar='JSON', help="also report them at another split's (@transfer)")
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.evaluation.box_counter import BoxCounter
    from mmentropy.evaluation.plots import box_panels, pixel_panels, plot_curves
    from mmentropy.evaluation.thresholds import save_metrics
    from mmentropy.experiments.map_evaluation import evaluation_from, report_faults, run_with_progress, settings_of

    evaluation, out = evaluation_from(args)
    threshold = 'oracle' if args.threshold is None else args.threshold
    options = dict(cam_interval=args.cam_interval, threshold=threshold, threshold_from=args.threshold_from)
    options |= dict(eval_size=args.eval_size, grid=args.grid)
    if evaluation.truths.masks:
        from mmentropy.evaluation.pixel_localization import PixelLocalizationMetric

        metric, panels = PixelLocalizationMetric(**options), pixel_panels
    else:
        metric = BoxCounter(iou_thrs=args.iou_thrs, contours=args.contours, **options)
        panels = box_panels
    evaluation.metrics = [metric]
    outcome = run_with_progress(evaluation, args, out)
    if outcome.images:
        figures = {f'{metric.prefix}/{name}': value for name, value in metric.figures(outcome.counts[0]).items()}
        for name, value in figures.items():
            print(f'{name:34s} {value:.3f}')
        figures |= {'images': outcome.images, 'faults': outcome.faults, 'settings': settings_of(args)}
        save_metrics(out, figures)
        plot_curves(panels(metric, outcome.counts[0]), out.with_suffix('.png'))
        print(f'{outcome.images} images; written: {out}, {out.with_suffix(".png")}')
    sys.exit(report_faults(outcome, args.allow_missing))


if __name__ == '__main__':
    main()
