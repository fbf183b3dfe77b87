# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""What the best centre box scores: ``python tools/analysis_tools/center_baseline.py --config CONFIG``.

Every image gets the same map, whose level sets are the boxes of the image's aspect around its centre, and the metrics
of any other map: what a method must beat that looks at the image.
"""

import argparse
import sys

from mmentropy.command_line import one_sentence_errors
from mmentropy.experiments.arguments import add_truth_arguments


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_truth_arguments(parser)
    parser.add_argument('--out', help='figures as JSON')
    parser.add_argument('--threshold-from', metavar='JSON', help="also report them at another split's thresholds")
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.evaluation import BoxLocalizationMetric, GridPointingMetric, PixelLocalizationMetric, save_metrics
    from mmentropy.evaluation.map_files import OneMap
    from mmentropy.evaluation.offline import MapEvaluation
    from mmentropy.evaluation.samples import TILE_BBOX
    from mmentropy.experiments.map_evaluation import report_faults, run_with_progress, truths_of
    from mmentropy.ops.localizing.boxes import center_map

    truths = truths_of(args)
    options = dict(eval_size=args.eval_size, threshold_from=args.threshold_from)
    metrics = [PixelLocalizationMetric(**options) if truths.masks else BoxLocalizationMetric(**options)]
    if TILE_BBOX in truths[0]:
        metrics.append(GridPointingMetric())
    evaluation = MapEvaluation(truths, OneMap(center_map(args.eval_size)), metrics)
    outcome = run_with_progress(evaluation, args, None)
    figures = {}
    if outcome.images:
        for metric, counts in zip(metrics, outcome.counts):
            figures |= {f'{metric.prefix}/{name}': value for name, value in metric.figures(counts).items()}
        for name, value in figures.items():
            print(f'{name:34s} {value:.3f}')
        print(f'{outcome.images} images')
        if args.out:
            save_metrics(args.out, figures | {'images': outcome.images, 'faults': outcome.faults})
    sys.exit(report_faults(outcome, allow_missing=False))


if __name__ == '__main__':
    main()
