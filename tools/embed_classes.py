# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Embeddings of class names by CLIP's text tower, for ``TextPrototypeHead``.

``python tools/embed_classes.py clip-vit-base-p16 --weights ViT-B-16.pth --tokenizer bpe_simple_vocab_16e6.txt.gz
--classes "red bird" "blue bird" --out words.npz``. See docs/frozen.md.
"""

import argparse
from pathlib import Path

from mmentropy.command_line import one_sentence_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='clip-vit-base-p16, clip-vit-base-p32, clip-vit-large-p14, or a config')
    parser.add_argument('--weights', help='checkpoint of CLIP: mmpretrain’s layout or OpenAI’s')
    parser.add_argument('--random-weights', action='store_true', help='do without; the numbers mean nothing')
    parser.add_argument('--tokenizer', required=True, help='vocabulary: bpe_simple_vocab_16e6.txt.gz or merges.txt')
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument('--classes', nargs='+', help='names')
    group.add_argument('--classes-file', type=Path, help='text file, a name a line')
    group.add_argument('--data', help='config whose data set has the names')
    parser.add_argument('--templates', nargs='+', default=['a photo of a {}.'], help='texts with {} for the name')
    parser.add_argument('--out', required=True, help='file to write (.npz)')
    return parser.parse_args()


def names(args: argparse.Namespace) -> list[str]:
    """The class names."""
    from mmentropy.engine import build_dataset, load_config

    if args.classes:
        return args.classes
    if args.classes_file:
        if not args.classes_file.is_file():
            raise FileNotFoundError(f'{args.classes_file}: no such file of class names')
        return [line.strip() for line in args.classes_file.read_text(encoding='utf-8').splitlines() if line.strip()]
    dataset = build_dataset(load_config(args.data), 'train', pipeline=[])
    dataset.full_init()
    return list(dataset.metainfo['classes'])


@one_sentence_errors
def main() -> None:
    args = parse_args()
    from mmentropy.apis.zero_shot import settings_of
    from mmentropy.engine.clip_text import build_clip, embed_classes

    if args.weights is None and not args.random_weights:
        raise ValueError(f'{args.model}: name its checkpoint (--weights), or say --random-weights')
    model = build_clip(settings_of(args.model), args.tokenizer, args.weights)
    found = embed_classes(model, names(args), args.templates, f'{args.model}: {" | ".join(args.templates)}')
    found.write(args.out)
    print(f'{args.out}: {len(found.classes)} classes, {found.vectors.shape[1]} numbers each')


if __name__ == '__main__':
    main()
