# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Pattern discovery: which annotated objects overlap most often with the high region of each class's map.

``python tools/analysis_tools/pattern_discovery.py CONFIG --weights CKPT``, on any set with several annotated objects an
image (VOC, PartShapes scenes). Objects are ranked, as in the CAM paper, by the share of the class's images in which
they overlap with the region; the share of the region that lies in their boxes stands beside it.

With ``--csv FILE`` the classes are words: of each concept in the CSV (columns image, concepts; optionally objects and
split) a linear SVM is learned on the pooled features, its negatives mined among all other rows, and its weights draw
the maps. So scenes give their informative objects, phrases their places, and ``text`` against images without any a text
detector. ``--pictures FOLDER`` draws the best images of each concept.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mmentropy.command_line import add_config_options, add_weights_arguments, one_sentence_errors, positive_int

if TYPE_CHECKING:
    from mmentropy.experiments.analysis import FeatureReader


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the network and the data')
    add_weights_arguments(parser)
    parser.add_argument('--split', default='test', help='train, val or test')
    parser.add_argument('--threshold', type=float, default=0.5, help='of the high region (default: 0.5)')
    parser.add_argument('--normalize', default='max', help="share of the map's maximum (max) or of its range (minmax)")
    parser.add_argument(
        '--min-share', type=float, default=0.0, help='an object overlaps with more than this share of the region (0)'
    )
    parser.add_argument('--top', type=positive_int, default=6, help="objects a class (default: the paper's 6)")
    parser.add_argument('--max-images', type=positive_int, help='evenly spread')
    parser.add_argument('--out', type=Path, help='write the whole table as JSON')
    parser.add_argument('--csv', type=Path, help='images and concept words in place of a data set')
    parser.add_argument('--images', default='', metavar='DIR', help='with --csv: where its paths begin')
    parser.add_argument('--concepts', nargs='+', metavar='WORD', help='with --csv: these alone')
    parser.add_argument('--pictures', type=Path, metavar='DIR', help='with --csv: draw the best images of each concept')
    add_config_options(parser)
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from rich.console import Console
    from rich.table import Table

    from mmentropy.experiments.analysis import discover_patterns, open_run, photos
    from mmentropy.safe_files import write_whole

    reader, sets = open_run(args.config, args.weights, args.cfg_options, args.trust_checkpoint, args.random_weights)
    if args.csv:
        return discover_in_csv(reader, args)
    data = sets[args.split]
    names = data.metainfo['classes']
    options = dict(normalize=args.normalize, min_share=args.min_share)
    patterns = discover_patterns(reader, photos(data, args.max_images), args.threshold, **options)
    table = Table('class', 'object', 'overlaps in % of the images', 'share of the region %', 'images with it')
    for label, rows in patterns.items():
        for i, row in enumerate(rows[: args.top]):
            figures = (f'{100 * row.frequency:.1f}', f'{100 * row.share:.1f}', str(row.images))
            table.add_row(names[label] if i == 0 else '', names[row.label], *figures)
    Console().print(table)
    if args.out:
        content = {
            names[c]: [asdict(row) | {'label': names[row.label]} for row in rows] for c, rows in patterns.items()
        }
        write_whole(args.out, json.dumps(content, ensure_ascii=False, indent=1).encode())


def discover_in_csv(reader: FeatureReader, args: argparse.Namespace) -> None:
    """The table, JSON and pictures of the concepts of a CSV."""
    from rich.console import Console
    from rich.table import Table

    from mmentropy.experiments.concepts import discover_concepts, draw_best, read_concepts
    from mmentropy.safe_files import write_whole
    from mmentropy.visualization.visualizer import write_image

    table = Table('concept', 'images', 'negatives learned', 'AP %', 'objects by frequency')
    content = {}
    rows = read_concepts(args.csv, args.images)
    for found in discover_concepts(reader, rows, args.concepts, threshold=args.threshold, min_share=args.min_share):
        detector, objects = found.detector, found.objects[: args.top]
        names = ', '.join(f'{name} {100 * row.frequency:.0f} %' for name, row in objects)
        precision = f'{found.precision:.1f}{" (test)" if found.tested else ""}'
        table.add_row(found.word, str(detector.positives), str(detector.negatives), precision, names)
        content[found.word] = {
            'average_precision': found.precision,
            'tested': found.tested,
            'negatives': detector.negatives,
            'best': [row.path for row, _ in found.best],
            'objects': [asdict(row) | {'label': name} for name, row in found.objects],
        }
        if args.pictures:
            write_image(args.pictures / f'{found.word.replace("/", "_")}.png', draw_best(found))
    Console().print(table)
    if args.out:
        write_whole(args.out, json.dumps(content, ensure_ascii=False, indent=1).encode())


if __name__ == '__main__':
    main()
