# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Pattern discovery: which annotated objects overlap most with the high region of each class's map.

``python tools/analysis_tools/pattern_discovery.py CONFIG --weights CKPT``, on any set with several annotated objects an
image (VOC, PartShapes scenes). Concepts and text are the same tool with a set whose labels are concepts.
"""

import argparse
import json
from pathlib import Path

from mmentropy.engine import add_config_options, add_weights_arguments, one_sentence_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the network and the data')
    add_weights_arguments(parser)
    parser.add_argument('--split', default='test', help='train, val or test')
    parser.add_argument('--threshold', type=float, default=0.5, help="share of the map's maximum")
    parser.add_argument('--top', type=int, default=3, help='objects a class')
    parser.add_argument('--max-images', type=int, help='evenly spread')
    parser.add_argument('--out', type=Path, help='write the whole table as JSON')
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
    data = sets[args.split]
    names = data.metainfo['classes']
    found = discover_patterns(reader, photos(data, args.max_images), args.threshold)
    table = Table('class', 'object', 'share of the region %', 'images with it')
    for label, rows in found.items():
        for i, (owner, share, holds) in enumerate(rows[: args.top]):
            table.add_row(names[label] if i == 0 else '', names[owner], f'{100 * share:.1f}', str(holds))
    Console().print(table)
    if args.out:
        content = {names[c]: [[names[o], share, holds] for o, share, holds in rows] for c, rows in found.items()}
        write_whole(args.out, json.dumps(content, ensure_ascii=False, indent=1).encode())


if __name__ == '__main__':
    main()
