# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Train plain CAM and the entropy recipe on drawn images and compare them, in a table and a picture (`make demo`)."""

import argparse
import warnings
from pathlib import Path

from mmentropy.command_line import add_config_options, one_sentence_errors

warnings.filterwarnings('ignore')


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='default: work_dirs/demo')
    add_config_options(parser)
    args = parser.parse_args()
    from rich.console import Console

    from mmentropy.experiments.demo import CENTER, center_box, draw_demo, run_models, summarize_demo

    results = run_models(Path(__file__).parents[1] / 'configs', args.work_dir, args.cfg_options)
    runner = next(iter(results.values()))[1]
    figures = {title: values for title, (values, _) in results.items()}
    figures[CENTER] = center_box(runner)
    table, sentence = summarize_demo(figures, len(runner.test_dataloader.dataset))
    console = Console(width=max(100, Console().width))
    console.print(table)
    console.print(sentence, style='bold')
    draw_demo(results, args.work_dir / 'maps.png')
    print(f'maps side by side: {args.work_dir / "maps.png"}')


if __name__ == '__main__':
    main()
