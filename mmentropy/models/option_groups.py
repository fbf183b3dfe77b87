# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Options of a component in groups that a config writes as dicts, and the flat names that say the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

Group = TypeVar('Group')
Init = TypeVar('Init', bound=Callable[..., None])


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


def name_keywords(flat: Mapping[str, Any], base: type | None = None) -> Callable[[Init], Init]:
    """Decorator of an ``__init__``: what its ``**keywords`` takes stands in its signature.

    ``help`` shows it there, and the check of ``--cfg-options`` finds a mistyped name.

    Args:
        flat: flat name → default.
        base: class whose arguments are taken as well.

    >>> @name_keywords({'detach_mask': False})
    ... def init(self, mask=None, **keywords): ...
    >>> inspect.signature(init)
    <Signature (self, mask=None, *, detach_mask=False)>
    """
    extra = {name: one.default for name, one in inspect.signature(base).parameters.items()} if base else {}

    def decorate(init: Init) -> Init:
        signature = inspect.signature(init)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        named = {name: default for name, default in {**extra, **flat}.items() if name not in signature.parameters}
        added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=d) for name, d in named.items()]
        init.__signature__ = signature.replace(parameters=[*own, *added])
        return init

    return decorate
