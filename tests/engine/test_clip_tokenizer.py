# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import gzip
import json

import pytest
from tiny_clip import MERGES, write_vocabulary

from mmentropy.engine.clip_tokenizer import ClipTokenizer, byte_letters


@pytest.fixture
def tokenizer(tmp_path):
    return ClipTokenizer(write_vocabulary(tmp_path))


def test_pairs_are_joined_by_their_rank(tokenizer):
    assert tokenizer.tokenize('Red  cat') == ['red</w>', 'cat</w>']
    assert tokenizer.tokenize('dogs') == ['do', 'g', 's</w>']  # "g" ends no word here, so "do g</w>" does not apply
    assert tokenizer.tokenize('rere') == ['re', 'r', 'e</w>']  # the last "e" ends the word
    assert tokenizer.tokenize('a photo of a red dog.') == [
        *('a</w>', 'ph', 'o', 't', 'o</w>', 'of</w>', 'a</w>', 'red</w>', 'dog</w>', '.</w>')
    ]


def test_numbers_are_the_vocabularys(tokenizer):
    numbers = tokenizer.get_vocab()
    assert len(numbers) == len(tokenizer) == 512 + len(MERGES) + 2
    assert numbers['!'] == 0
    assert numbers['!</w>'] == 256
    assert numbers['at</w>'] == 512
    assert (numbers['<|startoftext|>'], numbers['<|endoftext|>']) == (len(numbers) - 2, len(numbers) - 1)
    assert tokenizer.convert_tokens_to_ids(['red</w>', 'dog</w>']) == [512 + 3, 512 + 5]


def test_words_are_split_as_clips_are(tokenizer):
    """Letters, single digits, everything else; contractions apart; entities resolved; no text is lost."""
    assert tokenizer.tokenize('12') == ['1</w>', '2</w>']
    assert tokenizer.tokenize("it's") == ['i', 't</w>', "'", 's</w>']
    assert tokenizer.tokenize('a_b &amp;amp; c!?') == ['a</w>', '_</w>', 'b</w>', '&</w>', 'c</w>', '!', '?</w>']
    back = {letter: byte for byte, letter in byte_letters().items()}
    assert len(back) == 256
    joined = ''.join(tokenizer.tokenize('é日')).replace('</w>', '')
    assert bytes(back[letter] for letter in joined).decode() == 'é日'


def test_every_published_form_is_read(tokenizer, tmp_path):
    numbers = tokenizer.get_vocab()
    packed = tmp_path / 'bpe_simple_vocab_16e6.txt.gz'
    packed.write_bytes(gzip.compress((tmp_path / 'merges.txt').read_bytes()))
    folder = tmp_path / 'model'
    folder.mkdir()
    (folder / 'tokenizer.json').write_text(json.dumps({'model': {'merges': list(MERGES)}}))
    for path in (packed, tmp_path, folder):
        assert ClipTokenizer(path).get_vocab() == numbers


def test_one_sentence_for_a_wrong_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='no vocabulary of CLIP there; it is bpe_simple_vocab'):
        ClipTokenizer(tmp_path)
    (tmp_path / 'words.txt').write_text('#\none two\nthree\n')
    with pytest.raises(ValueError, match=r"words.txt: row 3 'three' is not a pair of tokens"):
        ClipTokenizer(tmp_path / 'words.txt')
    (tmp_path / 'cut.gz').write_bytes(gzip.compress(b'#\na b\n' * 1000)[:30])
    with pytest.raises(ValueError, match=r'cut.gz: this is no vocabulary of CLIP'):
        ClipTokenizer(tmp_path / 'cut.gz')
