# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Maps in the browser: ``python tools/explore.py CONFIG [PHOTOS...] --weights CKPT``, or a folder.

A folder is that of a run with report.npz, or what localize.py wrote (with the images). Without photographs the
config's own data set is shown. Two checkpoints are shown side by side. The page is served to
this machine alone, and takes nothing from elsewhere. Needs ``pip install 'mmentropy[explore]'``.
"""

import argparse
from pathlib import Path

from mmentropy.command_line import add_config_options, one_sentence_errors, positive_int


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='config, name of an mmpretrain model, folder of a run, or of maps')
    parser.add_argument('photos', nargs='*', type=Path, help="image files and folders (default: the config's data set)")
    parser.add_argument('--weights', nargs='+', default=[], help='one checkpoint, or several to compare')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='test', help='of the data set')
    parser.add_argument('--max-images', type=positive_int, default=500, help='of the data set')
    parser.add_argument('--device', help='default: the GPU where there is one')
    parser.add_argument('--port', type=positive_int, default=8765)
    parser.add_argument('--no-browser', action='store_true', help='only print the address')
    parser.add_argument('--random-weights', action='store_true', help='go on without --weights; the maps mean nothing')
    parser.add_argument('--trust-checkpoint', action='store_true', help='allow checkpoints that run code when loaded')
    add_config_options(parser, told='override keys of the data set’s config')
    return parser.parse_args()


def views_of(args: argparse.Namespace):
    """What is to be seen: a report, or models and pictures."""
    from mmentropy.apis import Localizer
    from mmentropy.explore.session import (
        MapFolderViews,
        ModelViews,
        ReportViews,
        pictures_of_data,
        pictures_of_files,
    )
    from mmentropy.visualization.report_data import ReportData

    folder = Path(args.model)
    if (folder / 'maps').is_dir():
        if not args.photos:
            raise ValueError(f'{folder} holds maps: name the images, too, mmentropy explore {folder} PHOTOS')
        return MapFolderViews(folder, pictures_of_files(args.photos))
    if folder.is_dir():
        return ReportViews(ReportData.load(folder / 'report.npz'), folder.resolve().name)
    models, commands = {}, {}
    for weights in args.weights or [None]:
        title = 'random weights' if weights is None else weights
        options = (args.device, 1, None, args.trust_checkpoint, args.random_weights)
        models[title] = Localizer(args.model, weights, *options)
        commands[title] = (args.model, weights or '')
    if args.photos:
        return ModelViews(models, pictures_of_files(args.photos), commands)
    from mmentropy.engine import build_dataset, load_config

    data = build_dataset(load_config(args.model, args.cfg_options), args.split)
    return ModelViews(models, pictures_of_data(data, args.max_images), commands)


@one_sentence_errors
def main() -> None:
    args = parse_args()
    try:
        import uvicorn

        from mmentropy.explore.server import create_app
    except ImportError as error:
        raise ImportError(f"{error.name} is not installed: pip install 'mmentropy[explore]'") from None
    app = create_app(views_of(args))
    address = f'http://127.0.0.1:{args.port}'
    print(f'{address}   (Ctrl-C ends it)', flush=True)
    if not args.no_browser:
        import webbrowser

        webbrowser.open(address)
    uvicorn.run(app, host='127.0.0.1', port=args.port, log_level='warning')


if __name__ == '__main__':
    main()
