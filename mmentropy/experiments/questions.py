# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Visual questions: features of the image and words of the question to a class of answer, and where it looks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmentropy.experiments.analysis import FeatureReader, PlacedMaps, batches
from mmentropy.experiments.concepts import unit


class Answer(NamedTuple):
    """An answer, its probability, and the raw map (1, h, w) of what in the image speaks for it.

    >>> Answer('yes', 0.75, PlacedMaps(np.zeros((1, 7, 7)), None)).text
    'yes'
    """

    text: str
    probability: float
    map: PlacedMaps


def words_of(question: str) -> list[str]:
    """The words of a question, lower case.

    >>> words_of('What colour is the bird?')
    ['what', 'colour', 'is', 'the', 'bird']
    """
    return re.findall(r'\w+', question.lower())


class QuestionAnswerer:
    r"""A softmax over answers, linear in the image's pooled features and in the question's words.

    .. math:: p(a) = \mathrm{softmax}_a(w_a \cdot v + u_a \cdot q + b_a), \qquad M_a(i) = w_a \cdot f_i

    v are the features that the network's classifier reads, q the bag of the question's words, both brought to length
    one. The map of an answer is its class activation map: the part of the score that comes from location i (Zhou et
    al., CVPR 2016, section on visual question answering).

    Args:
        reader: of the network whose features are taken.
        answers: at most so many, the most frequent ones; rows with others are left out in training.
        c: inverse strength of the penalty on the weights.
        batch_size: images a forward pass.

    >>> from torch import nn
    >>> from mmentropy.engine.model_loading import LoadedModel
    >>> layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    >>> reader = FeatureReader(LoadedModel(nn.Sequential(*layers), size=(16, 16)))
    >>> images = [np.zeros((16, 16, 3), np.uint8)] * 4
    >>> model = QuestionAnswerer(reader).fit(images, ['is it dark?', 'is it bright?'] * 2, ['yes', 'no'] * 2)
    >>> model.ask(images[:1], ['bright?'])[0].text
    'no'
    """

    def __init__(self, reader: FeatureReader, answers: int = 1000, c: float = 100.0, batch_size: int = 32) -> None:
        self.reader, self.count, self.c, self.batch_size = reader, answers, c, batch_size
        self.vocabulary: list[str] = []
        self.answers: list[str] = []

    def fit(self, images: Sequence[np.ndarray], questions: Sequence[str], answers: Sequence[str]) -> QuestionAnswerer:
        """Learn from RGB images, a question and an answer each.

        Raises:
            ImportError: without scikit-learn.
            ValueError: for lists of unequal length, or fewer than two answers.
        """
        try:
            from sklearn.linear_model import LogisticRegression
        except ImportError:
            raise ImportError('visual questions need scikit-learn: run `pip install scikit-learn`') from None
        if not len(images) == len(questions) == len(answers):
            raise ValueError(f'{len(images)} images came with {len(questions)} questions and {len(answers)} answers')
        kept = {answer for answer, _ in Counter(answers).most_common(self.count)}
        rows = [i for i, answer in enumerate(answers) if answer in kept]
        if len(kept) < 2:
            raise ValueError(f'there must be two answers or more to choose from, found {sorted(kept)}')
        self.vocabulary = sorted({word for i in rows for word in words_of(questions[i])})
        x = self._inputs([images[i] for i in rows], [questions[i] for i in rows])
        model = LogisticRegression(C=self.c, max_iter=1000).fit(x, [answers[i] for i in rows])
        self.answers = [str(answer) for answer in model.classes_]
        weight, bias = model.coef_, model.intercept_
        if len(weight) == 1:  # two answers: one row of differences
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        self.weight, self.bias = weight, bias
        return self

    def ask(self, images: Sequence[np.ndarray], questions: Sequence[str]) -> list[Answer]:
        """The best answer to each question, with its map.

        Raises:
            ValueError: before :meth:`fit`.
        """
        if not self.answers:
            raise ValueError('QuestionAnswerer knows no answer yet; call fit first')
        logits = self._inputs(images, questions) @ self.weight.T + self.bias
        odds = np.exp(logits - logits.max(1, keepdims=True))
        odds /= odds.sum(1, keepdims=True)
        maps = self.reader.feature_maps(images)
        found = []
        for best, row, (features, grid) in zip(odds.argmax(1), odds, maps):
            cam = np.einsum('d,dhw->hw', self.weight[best, : len(features)], features)
            found.append(Answer(self.answers[best], float(row[best]), PlacedMaps(cam[None], grid)))
        return found

    def _inputs(self, images: Sequence[np.ndarray], questions: Sequence[str]) -> np.ndarray:
        """(N, D + words) of images and questions; words that training did not have count nothing."""
        vectors = np.concatenate([self.reader.vectors(batch) for batch in batches(images, self.batch_size)])
        bags = np.array([[words_of(question).count(word) for word in self.vocabulary] for question in questions], float)
        return np.concatenate([unit(vectors), unit(bags)], axis=1)
