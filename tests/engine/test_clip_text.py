# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from tiny_clip import SETTINGS, write_vocabulary

from mmentropy.engine.clip_text import OPENAI, build_clip, clip_settings, embed_classes, from_openai


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    torch.manual_seed(0)
    return build_clip(SETTINGS, write_vocabulary(tmp_path_factory.mktemp('clip')))


def test_embeddings_are_the_hosts(clip):
    """CLIPZeroShot's own prototypes: its prompt is 'a photo of a {}'."""
    clip.prototype, clip.text_prototype_embeds = ['red cat', 'dog'], None
    with torch.no_grad():
        clip.prepare_text_prototype('cpu')
    found = embed_classes(clip, ['red cat', 'dog'], ['a photo of a {}'])
    torch.testing.assert_close(torch.from_numpy(found.vectors), clip.text_prototype_embeds.T)
    assert found.scale == pytest.approx(1 / 0.07)


def test_several_templates_are_one_direction(clip):
    one, other, both = (
        torch.from_numpy(embed_classes(clip, ['dog'], templates).vectors)
        for templates in (['a {}'], ['red {}'], ['a {}', 'red {}'])
    )
    torch.testing.assert_close(both, F.normalize(one + other))


def test_weights_of_either_layout(clip, tmp_path):
    state = clip.state_dict()
    torch.save({'state_dict': state}, tmp_path / 'host.pth')
    # OpenAI's layout, by the table read backwards on one block at a time.
    theirs = {}
    for key, value in state.items():
        for old, new in OPENAI:
            number = re.fullmatch(
                new.replace('.', r'\.').replace(r'\\.1', r'(\d+)').replace(r'\1', r'(\d+)') + '.*', key
            )
            plain = old.strip('^$').replace('\\.', '.')
            if number:
                n = number.group(1) if number.groups() else ''
                rest = key[len(new.replace(r'\1', n)) :]
                key = plain.replace(r'(\d+)', n) + rest
                break
        theirs[key] = value[0, 0] if key.endswith('class_embedding') else value
        if key == 'visual.positional_embedding':
            theirs[key] = value[0]
    assert 'visual.transformer.resblocks.2.attn.in_proj_weight' in theirs
    assert set(from_openai(theirs)) == set(state)
    torch.save(theirs, tmp_path / 'theirs.pth')
    vocabulary = write_vocabulary(tmp_path)
    for name in ('host.pth', 'theirs.pth'):
        again = build_clip(SETTINGS, vocabulary, tmp_path / name)
        assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())


def test_bad_inputs_are_one_sentence(clip, tmp_path):
    vocabulary = write_vocabulary(tmp_path)
    with pytest.raises(ValueError, match="'clip': the CLIP models are clip-vit-base-p32"):
        clip_settings('clip')
    with pytest.raises(ValueError, match='it has 522 tokens, and the text tower embeds 600'):
        build_clip(dict(SETTINGS, vocab_size=600), vocabulary)
    with pytest.raises(FileNotFoundError, match='no such checkpoint'):
        build_clip(SETTINGS, vocabulary, tmp_path / 'none.pth')
    (tmp_path / 'bad.pth').write_bytes(b'PK nothing')
    with pytest.raises(ValueError, match='it cannot be read as plain data'):
        build_clip(SETTINGS, vocabulary, tmp_path / 'bad.pth')
    torch.save({'visual.cls_token': torch.zeros(1, 1, 24)}, tmp_path / 'part.pth')
    with pytest.raises(ValueError, match='parameters of CLIP are not in it, for example'):
        build_clip(SETTINGS, vocabulary, tmp_path / 'part.pth')
    torch.save({'visual.cls_token': torch.zeros(1, 1, 25)}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='it does not fit the model'):
        build_clip(SETTINGS, vocabulary, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match="'dog' stands twice"):
        embed_classes(clip, ['dog', 'cat', 'dog'])
    with pytest.raises(ValueError, match=r"a template has {} once, .* got 'a dog'"):
        embed_classes(clip, ['dog'], ['a dog'])
