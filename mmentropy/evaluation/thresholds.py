# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Which threshold a figure was computed at: the best on the same split, a given one, one chosen on another split, or
one that each map chooses for itself.

A metric that chooses thresholds reports them as ``threshold@NAME`` beside its figures. So the JSON of the figures on
the validation split, as ``tools/test.py`` and ``tools/eval_maps.py`` write it, is all that the test split needs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmentropy.ops.localizing.threshold_rules import THRESHOLD_RULES
from mmentropy.safe_files import load_json, remove_partial, write_whole

KEY = 'threshold@'
#: Rules by which each map chooses its own threshold.
RULES = ('auto', *THRESHOLD_RULES)


def save_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Write figures, with the thresholds among them, as JSON; to a temporary name first, so no half file is left."""
    remove_partial(Path(path).parent)
    write_whole(path, json.dumps(dict(metrics), indent=2) + '\n')


def load_thresholds(path: str | Path, prefix: str | None = 'wsol') -> dict[str, float]:
    """The thresholds that a metric of this prefix chose, from the JSON of its figures.

    Args:
        path: JSON with entries such as ``"wsol/threshold@50": 0.213``.
        prefix: the metric's.

    Returns:
        name (``30``, ``50``, ``70``, ``Top1-Loc``, …) → threshold in [0, 1].

    Raises:
        FileNotFoundError: without the file.
        ValueError: if it is not such a JSON, or has no threshold of this prefix.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist; write it by evaluating the split that chooses the threshold')
    metrics = load_json(path, 'give the figures of the split that chooses')
    start = f'{prefix}/{KEY}' if prefix else KEY
    thresholds = {k[len(start) :]: v for k, v in metrics.items() if k.startswith(start)}
    thresholds = {name: value for name, value in thresholds.items() if '@' not in name}
    if not thresholds:
        raise ValueError(f'{path} holds no {start!r} entry; give the figures of the split that chooses the threshold')
    for name, value in thresholds.items():
        check_threshold(value, f'{start}{name} in {path}')
    return thresholds


def check_threshold(value: Any, where: str) -> float:
    """The threshold as a float, or a ValueError that names the option."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f'{where} must be a number from 0 to below 1, found {value!r}')
    return float(value)


def use_thresholds_from(evaluator: dict | list, path: str | Path) -> dict | list:
    """Set ``threshold_from=path`` on every metric of an evaluator's config that chooses thresholds; others stay.

    Args:
        evaluator: ``test_evaluator`` of a config: a metric, or a list of them. Changed in place.
        path: JSON of the figures on the split that chooses.

    Returns:
        The evaluator.

    Raises:
        ValueError: if no metric in it chooses a threshold.
    """
    names = ('BoxLocalizationMetric', 'PixelLocalizationMetric')
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    chosen = [metric for metric in metrics if str(metric.get('type')).split('.')[-1] in names]
    if not chosen:
        raise ValueError(f'no metric of the evaluator chooses a threshold; those that do are {", ".join(names)}')
    for metric in chosen:
        metric['threshold_from'] = str(path)
    return evaluator


def rule_of(threshold: str | float | Mapping[str, float]) -> str | None:
    """The option ``threshold`` of a metric where it names a rule of :data:`RULES`, else None.

    >>> rule_of('auto'), rule_of('oracle'), rule_of(0.2)
    ('auto', None, None)
    """
    return threshold if isinstance(threshold, str) and threshold in RULES else None


def given_thresholds(
    names: tuple[str, ...], threshold: str | float | Mapping[str, float], threshold_from: str | Path | None, prefix: str
) -> dict[str, dict[str, float]]:
    """The options ``threshold`` and ``threshold_from`` of a metric, as suffix → (name → threshold).

    Args:
        names: what a threshold is chosen for (``30``, ``50``, …, ``Top1-Loc``).
        threshold: ``oracle`` or a rule (nothing given), ``transfer`` (``threshold_from`` says which), a number for all
            names, or a number for each name.
        threshold_from: JSON of another split's figures, or None.
        prefix: the metric's prefix in that JSON.

    Returns:
        Possibly empty; ``fixed`` and ``transfer`` are the suffixes under which the figures are reported.
    """
    given: dict[str, dict[str, float]] = {}
    if threshold == 'transfer' and threshold_from is None:
        raise ValueError("threshold='transfer' needs threshold_from, the JSON of the figures on another split")
    if isinstance(threshold, str) and threshold not in ('oracle', 'transfer', *RULES):
        rules = ', '.join(map(repr, RULES))
        raise ValueError(f"threshold must be 'oracle', 'transfer', {rules}, a number or a dict, got {threshold!r}")
    if isinstance(threshold, Mapping):
        missing = [name for name in names if name not in threshold]
        if missing:
            raise ValueError(f'threshold has no entry for {missing}; it needs one for each of {list(names)}')
        given['fixed'] = {name: check_threshold(threshold[name], f'threshold[{name!r}]') for name in names}
    elif not isinstance(threshold, str):
        given['fixed'] = dict.fromkeys(names, check_threshold(threshold, 'threshold'))
    if threshold_from is not None:
        thresholds = load_thresholds(threshold_from, prefix)
        # names that the other split could not choose for (no predictions there) are left out of the report
        given['transfer'] = {name: thresholds[name] for name in names if name in thresholds}
        if not given['transfer']:
            raise ValueError(
                f'{threshold_from} has thresholds for {sorted(thresholds)}, none of them for {list(names)}'
            )
    return given
