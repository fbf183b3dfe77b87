# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""cache_features.py and embed_classes.py from the command line: what they write, and one sentence for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from run_tool import run_tool
from tiny_clip import SETTINGS, write_vocabulary

from mmentropy.engine.clip_text import build_clip, embed_classes
from mmentropy.engine.embeddings import ClassEmbeddings

ROOT = Path(__file__).parents[2]
DEMO = str(ROOT / 'configs/demo/resnet18_partshapes.py')


@pytest.fixture
def clip(tmp_path):
    """(config, weights, vocabulary) of a tiny CLIP."""
    torch.manual_seed(0)
    vocabulary = write_vocabulary(tmp_path)
    torch.save({'state_dict': build_clip(SETTINGS, vocabulary).state_dict()}, tmp_path / 'clip.pth')
    (tmp_path / 'clip.py').write_text(f"default_scope = 'mmpretrain'\nmodel = {SETTINGS!r}\n")
    return tmp_path / 'clip.py', tmp_path / 'clip.pth', vocabulary


def test_class_names_become_a_file(clip, tmp_path):
    config, weights, vocabulary = clip
    args = (
        str(config),
        '--weights',
        str(weights),
        '--tokenizer',
        str(vocabulary),
        '--out',
        str(tmp_path / 'words.npz'),
    )
    (tmp_path / 'names.txt').write_text('red cat\n\ndog\n')
    done = run_tool('embed_classes.py', *args, '--classes-file', str(tmp_path / 'names.txt'), '--templates', 'a {}')
    assert done.code == 0, done.err
    assert '2 classes, 12 numbers each' in done.out
    found = ClassEmbeddings.read(tmp_path / 'words.npz')
    expected = embed_classes(build_clip(SETTINGS, vocabulary, weights), ['red cat', 'dog'], ['a {}'])
    assert found.classes == expected.classes
    torch.testing.assert_close(torch.from_numpy(found.vectors), torch.from_numpy(expected.vectors))
    assert found.made_by.endswith('clip.py: a {}')


def test_what_is_wrong_is_one_sentence(clip, tmp_path):
    config, weights, vocabulary = clip
    out = ('--out', str(tmp_path / 'words.npz'))
    for args, sentence in (
        ((str(config), '--tokenizer', str(vocabulary), '--classes', 'dog'), 'name its checkpoint'),
        (
            (str(config), '--weights', str(weights), '--tokenizer', 'none.txt', '--classes', 'dog'),
            'no vocabulary of CLIP',
        ),
        (
            (str(config), '--weights', str(weights), '--tokenizer', str(vocabulary), '--classes', 'a', 'a'),
            'stands twice',
        ),
    ):
        done = run_tool('embed_classes.py', *args, *out)
        assert done.code == 2
        assert sentence in done.err
        assert 'Traceback' not in done.err
    for args, sentence in (
        ((DEMO,), 'name the folder of the features: --out DIR'),
        ((DEMO, '--out', str(tmp_path / 'features')), 'the backbone of its model is trained'),
    ):
        done = run_tool('cache_features.py', *args, '--device', 'cpu')
        assert done.code == 2
        assert sentence in done.err
        assert 'Traceback' not in done.err
    assert not (tmp_path / 'words.npz').exists()
    assert not (tmp_path / 'features').exists()
