# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""A classifier as ONNX, with its maps: ``python tools/export_onnx.py CONFIG OUT.onnx --weights CKPT``.

Input ``images`` (N, 3, H, W), normalised as in training; outputs ``scores`` (N, C), and ``maps`` (N, C, h, w), the raw
class maps of all classes (a segmentor's logits). N is free. Where onnxruntime is installed, its results are compared
with PyTorch's before the tool ends.
"""

import argparse
from pathlib import Path

from mmentropy.command_line import add_weights_arguments, one_sentence_errors, positive_int

#: Largest difference to PyTorch, relative to the largest value, with which a file is kept.
TOLERANCE = 1e-4


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'model', help='config of mmentropy, mmpretrain or mmsegmentation, or name of an mmpretrain model'
    )
    parser.add_argument('out', type=Path, help='file to write (.onnx)')
    add_weights_arguments(parser)
    parser.add_argument(
        '--input-size', type=positive_int, nargs='+', help="height and width, or side; default: the model's"
    )
    parser.add_argument(
        '--raw', action='store_true', help='inputs are RGB in 0 to 255; normalisation goes into the model'
    )
    parser.add_argument('--opset', type=positive_int, default=17)
    return parser.parse_args()


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.apis.export import compare_with_onnxruntime, export_onnx
    from mmentropy.engine.model_loading import load_model
    from mmentropy.structures import height_and_width

    loaded = load_model(args.model, args.weights, 'cpu', args.trust_checkpoint, args.random_weights)
    if args.input_size:
        loaded.fix_size(height_and_width(args.input_size, '--input-size'))
    module = export_onnx(loaded, args.out, args.raw, args.opset)
    size = args.out.stat().st_size / 1e6
    print(f'{args.out}: {size:.1f} MB, input {loaded.size[0]}x{loaded.size[1]}, outputs scores and maps')
    difference = compare_with_onnxruntime(module, args.out, loaded.size)
    if difference is None:
        print('onnxruntime is not installed: not compared')
    else:
        if difference > TOLERANCE:
            args.out.unlink()
            raise ValueError(
                f'{args.out}: onnxruntime differs from PyTorch by {difference:.1e} of the largest value; it was '
                'removed: the network’s code fixes what should be free, often the batch size (Swin does)'
            )
        print(f'largest difference to PyTorch, relative to the largest value: {difference:.1e}')


if __name__ == '__main__':
    main()
