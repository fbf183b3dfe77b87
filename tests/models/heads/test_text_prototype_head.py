# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
import numpy as np
import pytest
import torch

from mmentropy.engine.embeddings import ClassEmbeddings
from mmentropy.models import CosineClassifier, EntropyPooling, LSEPooling, TextPrototypeHead
from mmentropy.models.classifiers.localization_classifier import complete_head
from mmentropy.ops.certainty.entropy import softmax_entropy
from mmentropy.ops.mapping.prototypes import cosine_logits


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def words(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    ClassEmbeddings(('cat', 'dog', 'owl'), vectors, scale=20.0).write(tmp_path / 'words.npz')
    return tmp_path / 'words.npz', torch.from_numpy(vectors)


def test_logits_and_maps_are_scaled_cosines(words, features):
    path, vectors = words
    head = TextPrototypeHead(path)
    expected = cosine_logits(features, vectors, 20.0)
    torch.testing.assert_close(head.maps(features), expected)
    torch.testing.assert_close(
        head.maps(features, torch.tensor([[2, 0], [1, 1]])), expected[[[0], [1]], [[2, 0], [1, 1]]]
    )
    torch.testing.assert_close(head.entropy_map(features), softmax_entropy(expected))
    pooled = features.mean((2, 3))
    torch.testing.assert_close(head((pooled,)), cosine_logits(pooled, vectors, 20.0))
    assert not list(head.parameters())


def test_some_classes_in_their_order(words, features):
    path, vectors = words
    head = TextPrototypeHead(path, classes=['owl', 'cat'], scale=3.0)
    assert head.class_names == ('owl', 'cat')
    torch.testing.assert_close(head.maps(features), cosine_logits(features, vectors[[2, 0]], 3.0))


def test_necks_weigh_by_the_cosines(words, features):
    path, vectors = words
    head, neck, scores = TextPrototypeHead(path), EntropyPooling(), LSEPooling(of='scores', r=1e9)
    neck.tie(head.fc)
    scores.tie(head.fc)
    logits = cosine_logits(features, vectors, 20.0)
    weights = (-softmax_entropy(logits)).flatten(1).softmax(1)
    torch.testing.assert_close(neck(features), torch.einsum('bi,bdi->bd', weights, features.flatten(2)))
    torch.testing.assert_close(head(scores(features)), logits.amax((2, 3)))


def test_what_is_trained():
    head = TextPrototypeHead(num_classes=3, in_channels=6, trainable=True)
    assert [name for name, _ in head.named_parameters()] == ['fc.prototypes', 'fc.log_scale']
    assert set(TextPrototypeHead(num_classes=3, in_channels=6).state_dict()) == set(head.state_dict())
    with pytest.raises(ValueError, match='must be above 0, got 0'):
        CosineClassifier(torch.eye(2), 0)


def test_refuses_what_does_not_fit(words, tmp_path):
    path, _ = words
    with pytest.raises(ValueError, match=r'words.npz: its embeddings have 6 numbers each, but the trunk gives 8'):
        TextPrototypeHead(path, in_channels=8)
    with pytest.raises(ValueError, match=r'words.npz: it has 3 classes, but the data set has 4'):
        TextPrototypeHead(path, num_classes=4)
    with pytest.raises(KeyError, match=r"words.npz: no embedding of 1 of the 2 classes, for example 'emu'"):
        TextPrototypeHead(path, classes=['cat', 'emu'])
    with pytest.raises(ValueError, match='or give num_classes and in_channels'):
        TextPrototypeHead(num_classes=3)
    # In a LocalizationClassifier the file says how many classes there are.
    backbone = torch.nn.Conv2d(3, 6, 1)
    assert 'num_classes' not in complete_head(dict(embeddings=str(path)), backbone, None)
