# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Options of a component in groups that a config writes as dicts, and the flat names that say the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

Group = TypeVar('Group')


def take_group(
    owner: str,
    name: str,
    kind: type[Group],
    given: Mapping[str, Any] | None,
    keywords: dict[str, Any],
    flat: Mapping[str, str],
) -> Group:
    """One group of options: from the config's dict, and from flat names, which are taken out of ``keywords``.

    Args:
        owner: name of the component, for messages.
        name: of the group.
        kind: dataclass of the options, with their defaults.
        given: the config's dict; None gives the defaults.
        keywords: keyword arguments of the component that are no group.
        flat: flat name → option of the group.

    Raises:
        ValueError: for a group that is no dict, an option that it has not, or one that is given both ways.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Mask:
    ...     omega: float = 8.0
    ...     detach: bool = False
    >>> take_group('Localizer', 'mask', Mask, dict(omega=4.0), dict(detach_mask=True), {'detach_mask': 'detach'})
    Mask(omega=4.0, detach=True)
    """
    if not isinstance(given, Mapping | None):
        raise ValueError(f'{owner}: {name} is a dict of options, got {given!r}')
    options = dict(given or {})
    known = [field.name for field in fields(kind)]
    for option in options:
        if option not in known:
            raise ValueError(f'{owner}: {name} has no option {option!r}; it has {", ".join(known)}')
    for word, option in flat.items():
        if word not in keywords:
            continue
        if option in options:
            raise ValueError(
                f'{owner}: {word} and {name}=dict({option}=...) are the same option; keep the one in {name}'
            )
        options[option] = keywords.pop(word)
    return kind(**options)


def refuse_unknown(owner: str, keywords: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse keyword arguments that no group has taken.

    Raises:
        ValueError: naming them, and the options that there are.
    """
    if keywords:
        raise ValueError(f'{owner}: no option {", ".join(map(repr, keywords))}; there are {", ".join(known)}')
