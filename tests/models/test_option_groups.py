# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Groups of options and the flat names that say the same."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest

from mmentropy.models import EntropyPooling, MinMaxLocalizer
from mmentropy.models.option_groups import refuse_unknown, take_group


@dataclass
class Mask:
    omega: float = 8.0
    detach: bool = False


FLAT = {'omega': 'omega', 'detach_mask': 'detach'}


def take(given, keywords) -> Mask:
    return take_group('Localizer', 'mask', Mask, given, keywords, FLAT)


def test_values_come_from_the_dict_the_flat_names_and_the_defaults():
    assert take(None, {}) == Mask()
    assert take({'omega': 4.0}, {}) == Mask(4.0, False)
    keywords = {'detach_mask': True, 'other': 1}
    given = {'omega': 4.0}
    assert take(given, keywords) == Mask(4.0, True)
    assert keywords == {'other': 1}  # taken out
    assert given == {'omega': 4.0}  # a config is left as it was


@pytest.mark.parametrize(
    ('given', 'keywords', 'message'),
    [
        ({'omga': 4.0}, {}, "Localizer: mask has no option 'omga'; it has omega, detach"),
        ({'detach': True}, {'detach_mask': True}, r'Localizer: detach_mask and mask=dict\(detach=...\) are the same'),
        (4.0, {}, 'Localizer: mask is a dict of options, got 4.0'),
    ],
)
def test_what_does_not_fit_is_one_sentence(given, keywords, message):
    with pytest.raises(ValueError, match=message):
        take(given, keywords)


def test_what_nobody_takes_is_refused():
    refuse_unknown('Localizer', {}, ['mask'])
    with pytest.raises(ValueError, match="Localizer: no option 'a', 'b'; there are mask, omega"):
        refuse_unknown('Localizer', {'a': 1, 'b': 2}, ['mask', 'omega'])


def test_what_the_keywords_take_stands_in_the_signature():
    """So ``help`` shows it, and the check of ``--cfg-options`` refuses a name that is none of them."""
    for cls in (EntropyPooling, MinMaxLocalizer):
        assert not any(one.kind is one.VAR_KEYWORD for one in inspect.signature(cls).parameters.values())
    defaults = {name: one.default for name, one in inspect.signature(EntropyPooling).parameters.items()}
    assert list(defaults)[:4] == ['weighting', 'entropy', 'mix', 'scorer']
    assert (defaults['temperature'], defaults['score'], defaults['num_classes']) == (1.0, 'softmax', None)
    found = inspect.signature(MinMaxLocalizer).parameters
    assert (found['negative'].default, found['detach_mask'].default) == ('sem', False)
    assert {'mask', 'rest', 'barrier', 'erasing', 'crf', 'map_classes', 'data_preprocessor'} <= set(found)
