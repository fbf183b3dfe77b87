# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""CLIP's tokenizer, from its vocabulary on disk: no network, no further package."""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from mmpretrain.registry import TOKENIZER

#: The files that CLIP's vocabulary is published as.
FILES = 'bpe_simple_vocab_16e6.txt.gz of OpenAI, or the folder or merges.txt of a Hugging Face model'
#: Merges of CLIP's vocabulary; its file has more lines.
MERGES = 49152 - 256 - 2
START, END, LAST = '<|startoftext|>', '<|endoftext|>', '</w>'
#: Contractions, runs of letters, single digits, runs of what is neither.
WORDS = re.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\w\s]|_)+", re.IGNORECASE
)


@TOKENIZER.register_module()
class ClipTokenizer:
    """Text to CLIP's numbers, by byte-pair encoding: what mmpretrain's ``CLIPZeroShot`` asks of its tokenizer.

    Text is lower-cased; entities of HTML are resolved and white space is joined.

    Args:
        vocabulary: ``bpe_simple_vocab_16e6.txt.gz`` (or unpacked), ``merges.txt``, or a folder that holds one of them.

    Raises:
        FileNotFoundError: without the file.
        ValueError: for another kind of file.

    Source:
        Sennrich et al., "Neural machine translation of rare words with subword units" (ACL 2016), on bytes, as in
        Radford et al. (ICML 2021).

    >>> _ = Path('merges.txt').write_text('#version: 0.2\\na t</w>\\nc at</w>\\n')
    >>> tokenizer = ClipTokenizer('merges.txt')
    >>> tokenizer.tokenize('A cat'), tokenizer.convert_tokens_to_ids(['a</w>', 'cat</w>'])
    (['a</w>', 'cat</w>'], [320, 513])
    """

    def __init__(self, vocabulary: str | Path) -> None:
        merges = list(_merges(Path(vocabulary)))
        self.ranks = {pair: i for i, pair in enumerate(merges)}
        letters = list(byte_letters().values())
        tokens = [*letters, *(letter + LAST for letter in letters), *(''.join(pair) for pair in merges), START, END]
        self.numbers = {token: i for i, token in enumerate(tokens)}
        self._split = lru_cache(maxsize=1 << 16)(self._merge)

    def __len__(self) -> int:
        return len(self.numbers)

    def get_vocab(self) -> dict[str, int]:
        """Number of each token."""
        return self.numbers

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without start and end."""
        text = ' '.join(html.unescape(html.unescape(text)).split()).lower()
        letters = byte_letters()
        found: list[str] = []
        for word in WORDS.findall(text):
            found += [word] if word in (START, END) else self._split(''.join(letters[b] for b in word.encode()))
        return found

    def convert_tokens_to_ids(self, tokens: Sequence[str]) -> list[int]:
        """Numbers of tokens."""
        return [self.numbers[token] for token in tokens]

    def _merge(self, word: str) -> list[str]:
        """One word: the pair that was merged first in the vocabulary is joined first, wherever it stands."""
        parts = [*word[:-1], word[-1] + LAST]
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            joined: list[str] = []
            for part in parts:
                if joined and (joined[-1], part) == best:
                    joined[-1] += part
                else:
                    joined.append(part)
            parts = joined
        return parts


@lru_cache(maxsize=1)
def byte_letters() -> dict[int, str]:
    """A printable letter for each of the 256 bytes, in the vocabulary's order: the printable ones stand for themselves.

    >>> byte_letters()[ord('a')], byte_letters()[ord(' ')]
    ('a', 'Ġ')
    """
    printable = [*range(ord('!'), ord('~') + 1), *range(ord('¡'), ord('¬') + 1), *range(ord('®'), ord('ÿ') + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def _merges(path: Path) -> Iterable[tuple[str, str]]:
    """The pairs of a vocabulary's file."""
    if path.is_dir():
        names = ('merges.txt', 'bpe_simple_vocab_16e6.txt.gz', 'bpe_simple_vocab_16e6.txt', 'tokenizer.json')
        path = next((path / name for name in names if (path / name).is_file()), path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no vocabulary of CLIP there; it is {FILES}')
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()
        if path.suffix == '.json':
            lines = [line if isinstance(line, str) else ' '.join(line) for line in json.loads(data)['model']['merges']]
        else:
            lines = data.decode().splitlines()[1:]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: this is no vocabulary of CLIP ({type(error).__name__}); it is {FILES}') from None
    pairs = [tuple(line.split()) for line in lines[:MERGES] if line.strip()]
    wrong = next((i for i, pair in enumerate(pairs) if len(pair) != 2), None)
    if not pairs or wrong is not None:
        row = 'no merge' if wrong is None else f'row {wrong + 2} {" ".join(pairs[wrong])[:40]!r}'
        raise ValueError(f'{path}: {row} is not a pair of tokens; the vocabulary of CLIP is {FILES}')
    return pairs  # type: ignore[return-value]
