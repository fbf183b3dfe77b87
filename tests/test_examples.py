# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The examples of docstrings: every public op and class has one, and every one gives what it says."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

PACKAGE = Path(__file__).resolve().parents[1] / 'mmentropy'
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

#: What needs no example of its own, with the reason; plain records (see :func:`is_record`) need none either.
WITHOUT = {
    'Alteration': 'an abstract base; Removed is one',
    'MapFolderViews': 'needs a folder of maps; ModelViews is what is explored usually',
    'Measuring': 'a thread of the explorer over its views',
    'ModelViews': 'needs a localizer with trained weights; tests/explore shows it',
    'ReportViews': 'needs a report of a run; tests/explore shows it',
    'ShownMap': 'plain data that ModelViews.view fills',
    'CAMBackbone': 'an abstract base; VGGGAP is one',
    'DiskFullError': 'an exception without anything of its own',
    'Explainer': 'an abstract base; CAM is one',
    'GradientExplainer': 'an abstract base; GradCAM is one',
    'ImageSource': 'an abstract base; VOCFolder is one',
    'AttentionExplainer': 'an abstract base; GradAttention is one',
    'MapStage': 'an abstract base; ClassMaps is one',
    'Refiner': 'an abstract base; CrfRefine is one',
    'ScoreStage': 'an abstract base; Seed is one',
    'Stage': 'an abstract base; PerImageStage shows how one is made',
    'Training': 'an abstract base; Classify is one',
    'UnsafePickleError': 'an exception without anything of its own',
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def documented(tree: ast.Module) -> list[ast.ClassDef | ast.FunctionDef]:
    """Every class and function of a module, methods too, that has a docstring."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds) and ast.get_docstring(node)]


TREES = {module_name(path): ast.parse(path.read_text(encoding='utf-8')) for path in sorted(PACKAGE.rglob('*.py'))}
EXAMPLES = {
    module: [node.name for node in documented(tree) if '>>>' in ast.get_docstring(node)]
    for module, tree in TREES.items()
}


def public(module: str, tree: ast.Module) -> list[str]:
    """The public classes of a module but plain records, of an op also its functions."""
    kinds = (ast.ClassDef, ast.FunctionDef) if module.startswith('mmentropy.ops.') else (ast.ClassDef,)
    found = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith('_')]
    return sorted({node.name for node in found if not is_record(node)})


def is_record(node: ast.stmt) -> bool:
    """Whether this is a class that holds values and does nothing: a dataclass, named tuple or protocol of fields."""
    if not isinstance(node, ast.ClassDef):
        return False
    words = {part.id for part in [*node.bases, *map(called, node.decorator_list)] if isinstance(part, ast.Name)}
    does = [part for part in node.body if isinstance(part, ast.FunctionDef) and not part.name.startswith('__')]
    return bool(words & {'NamedTuple', 'Protocol', 'dataclass'}) and not does


def called(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


@pytest.fixture(autouse=True)
def _plain_numbers():
    """Arrays and tensors are printed as they are by default, whatever another test has set."""
    torch.set_printoptions(profile='default')
    with np.printoptions(precision=8, suppress=False, threshold=1000, linewidth=75, floatmode='maxprec'):
        yield


@pytest.mark.parametrize('module', [module for module, names in EXAMPLES.items() if names])
def test_examples(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = finder.find(importlib.import_module(module), module, extraglobs={'np': np, 'torch': torch})
    with_examples = [test for test in tests if test.examples]
    assert {test.name.split('.')[-1] for test in with_examples} == set(EXAMPLES[module]), 'examples that are not found'
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for test in with_examples:
        said: list[str] = []
        runner.run(test, out=said.append)
        assert runner.failures == 0, ''.join(said)


def test_every_public_op_and_class_has_an_example():
    missing = [
        f'{module}.{name}'
        for module, tree in TREES.items()
        for name in public(module, tree)
        if name not in EXAMPLES[module] and name not in WITHOUT
    ]
    assert missing == []


def test_what_goes_without_exists_and_has_none():
    names = {name for module, tree in TREES.items() for name in public(module, tree)}
    assert set(WITHOUT) <= names, 'renamed or removed'
    assert not set(WITHOUT) & {name for found in EXAMPLES.values() for name in found}, 'has an example now'
