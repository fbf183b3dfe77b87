# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Why localisations fail: ``python tools/analysis_tools/error_analysis.py MAPS --metadata DIR --threshold 0.2``.

Takes the maps and ground truths of ``tools/eval_maps.py`` and a threshold, e.g. the one in its JSON. Writes a table of
all images, tables per class and per object size, and a plot.
"""

import argparse
import functools
import sys

from mmentropy.command_line import one_sentence_errors
from mmentropy.experiments.arguments import add_map_arguments


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_map_arguments(parser)
    parser.add_argument('--out', help='folder of the tables (default: MAPS_errors beside the folder)')
    parser.add_argument('--iou-thr', type=int, default=50, metavar='PERCENT')
    parser.add_argument('--contours', choices=['all', 'largest'], default='largest', help='which boxes are drawn')
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument('--threshold', type=float, help='at which boxes are drawn')
    given.add_argument('--threshold-from', metavar='JSON', help='figures whose threshold@50 (of --iou-thr) is taken')
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.evaluation import ErrorAnalysisMetric
    from mmentropy.evaluation.error_analysis import analyse_sample, write_tables
    from mmentropy.experiments.map_evaluation import evaluation_from, report_faults, run_with_progress

    evaluation, out = evaluation_from(args, '_errors')
    metric = ErrorAnalysisMetric(
        args.threshold,
        args.threshold_from,
        iou_thr=args.iou_thr,
        contours=args.contours,
        eval_size=args.eval_size,
        grid=args.grid,
    )
    if evaluation.truths.masks:
        raise ValueError('the kinds of errors are defined for boxes, and these ground truths are masks')
    evaluation.row = functools.partial(analyse_sample, threshold=metric.threshold, **metric.options)
    outcome = run_with_progress(evaluation, args, out)
    if outcome.rows:
        for name, value in write_tables([row for _, row in outcome.rows], out).items():
            print(f'{name:26s} {value:6.2f} %')
        print(
            f'{outcome.images} images at threshold {metric.threshold:g}; written: {out}/errors*.csv, {out}/errors.png'
        )
    sys.exit(report_faults(outcome, args.allow_missing))


if __name__ == '__main__':
    main()
