# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Classes by their names: the host's zero-shot scores, the maps and the entropy of the patches."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_clip import SETTINGS, write_vocabulary

from mmentropy.apis.localizer import Localizer
from mmentropy.apis.zero_shot import is_clip, settings_of, zero_shot_model
from mmentropy.engine.clip_text import build_clip
from mmentropy.ops.certainty.entropy import softmax_entropy

CLASSES = ['red cat', 'dog', 'owl']


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """(folder with a config, weights, a vocabulary and two photographs; the host's model)."""
    folder = tmp_path_factory.mktemp('clip')
    torch.manual_seed(0)
    clip = build_clip(SETTINGS, write_vocabulary(folder))
    torch.nn.init.normal_(clip.visual.cls_token)
    torch.save({'state_dict': clip.state_dict()}, folder / 'clip.pth')
    (folder / 'clip.py').write_text(f"default_scope = 'mmpretrain'\nmodel = {SETTINGS!r}\n")
    (folder / 'photos').mkdir()
    for i in range(2):
        picture = np.random.default_rng(i).integers(0, 255, (48, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'photos/{i}.png'), picture)
    return folder, clip


@torch.no_grad()
def test_scores_are_the_hosts_and_maps_those_of_the_patches(world):
    folder, clip = world
    settings = {key: value for key, value in SETTINGS.items() if key != 'type'}
    model = zero_shot_model(settings, CLASSES, folder / 'clip.pth', folder, ['a photo of a {}'])
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    clip.prototype, clip.text_prototype_embeds = CLASSES, None
    theirs = clip.predict(images)
    ours = model.predict(images)
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one.pred_score, other.pred_score)
    features = model.backbone(images)[1]
    cosines = torch.einsum('cd,bdhw->bchw', clip.text_prototype_embeds.T, F.normalize(features, dim=1))
    logits = clip.logit_scale.exp() * cosines
    for sample, expected in zip(ours, logits):
        maps = sample.cams[sample.cam_labels.argsort()]
        torch.testing.assert_close(maps, expected)
        torch.testing.assert_close(sample.entropy_map, softmax_entropy(expected[None])[0])


def test_a_folder_in_maps_and_boxes_out(world):
    folder, _ = world
    options = dict(weights=folder / 'clip.pth', tokenizer=folder / 'merges.txt', classes=CLASSES)
    with pytest.warns(UserWarning, match='direction of each location'):
        found = Localizer(folder / 'clip.py', **options)(folder / 'photos', classes='all', progress=False)
    assert [one.class_names for one in found] == [tuple(CLASSES)] * 2
    assert found[0].maps.shape == (3, 4, 4)
    assert found[0].scores.sum() == pytest.approx(1, abs=1e-5)
    assert found[0].boxes[0].shape[1] == 4
    localizer = Localizer(folder / 'clip.py', **options)
    picture = cv2.imread(str(folder / 'photos/0.png'))[..., ::-1]
    inputs = localizer.loaded.inputs([picture])
    with torch.no_grad():
        expected = localizer.loaded.model.predict(inputs)[0]
    maps = expected.cams[expected.cam_labels.argsort()]
    np.testing.assert_allclose(found[0].maps, maps.numpy(), atol=1e-5)


def test_what_is_missing_is_told(world):
    folder, _ = world
    with pytest.raises(ValueError, match='its text tower needs the vocabulary of CLIP'):
        Localizer(folder / 'clip.py', weights=folder / 'clip.pth', classes=CLASSES)
    with pytest.raises(ValueError, match='without weights every number would be random'):
        Localizer(folder / 'clip.py', tokenizer=folder, classes=CLASSES)
    with pytest.raises(ValueError, match="'resnet18_8xb32_in1k' has its own classes"):
        Localizer('resnet18_8xb32_in1k', classes=CLASSES)
    (folder / 'other.py').write_text("model = dict(type='ImageClassifier')\n")
    with pytest.raises(ValueError, match='its model is ImageClassifier; classes by name are for CLIPZeroShot'):
        settings_of(folder / 'other.py')
    assert is_clip(folder / 'clip.py')
    assert settings_of('clip-vit-large-p14')['proj_dim'] == 768
