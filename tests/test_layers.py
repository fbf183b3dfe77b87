# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The house: imports point downwards, the maths knows no host, a name stands for one thing, tests mirror modules."""

from __future__ import annotations

import ast
import importlib.util
from collections import defaultdict
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / 'docs/make_architecture.py'
spec = importlib.util.spec_from_file_location('make_architecture', SCRIPT)
house = importlib.util.module_from_spec(spec)
spec.loader.exec_module(house)

PACKAGE = Path(__file__).resolve().parents[1] / 'mmentropy'
#: Modules without a test of their name, with the reason.
WITHOUT_TEST = {
    '__main__.py': 'one call; tests/commands/test_dispatch.py runs it',
    '_needs_hosts.py': 'one call of hosts.require_hosts; tests/test_package.py imports without the hosts',
    'segmentation/host_run.py': 'a command of four lines; test_training.py and test_pipeline.py run it',
}

HOSTS = {'mmengine', 'mmcv', 'mmpretrain', 'mmseg'}
MODULES = house.modules()


def upward(module: str, target: str) -> bool:
    floors = list(house.FLOORS)
    return floors.index(house.floor_of(target)) < floors.index(house.floor_of(module))


@pytest.mark.parametrize(
    ('module', 'target', 'wrong'),
    [
        ('mmentropy.ops.certainty.entropy', 'mmentropy.registry', True),
        ('mmentropy.engine.startup', 'mmentropy.apis', True),
        ('mmentropy.apis.localizer', 'mmentropy.explain.cam', False),
        ('mmentropy.explain.cam', 'mmentropy.explain.anatomy', False),
    ],
)
def test_upward_knows_up_from_down(module, target, wrong):
    assert upward(module, target) is wrong


def test_imports_inside_functions_are_read(tmp_path):
    path = tmp_path / 'one.py'
    path.write_text('def f():\n    from mmentropy.apis import localizer\n    import mmseg.apis\n')
    known = {'mmentropy.apis.localizer': path}
    assert list(house.imports('mmentropy.one', path, known)) == [(2, 'mmentropy.apis.localizer'), (3, 'mmseg.apis')]


def test_imports_point_downwards():

    found = [
        f'{path.relative_to(house.ROOT)}:{line} imports {target}, which lies above it'
        for name, path in MODULES.items()
        for line, target in house.imports(name, path, MODULES)
        if target.split('.')[0] == 'mmentropy' and upward(name, target)
    ]
    assert found == []


def test_nobody_here_uses_an_old_name():
    known = set(MODULES)
    found = [
        f'{path.relative_to(house.ROOT)}:{line} imports {target}, which is no module (moved?)'
        for name, path in MODULES.items()
        for line, target in house.imports(name, path, MODULES)
        if target.split('.')[0] == 'mmentropy' and target not in known
    ]
    assert found == []


def test_ops_import_no_host_and_nothing_else_of_ours():
    found = [
        f'{path.relative_to(house.ROOT)}:{line} imports {target}'
        for name, path in MODULES.items()
        if house.floor_of(name) == 'ops'
        for line, target in house.imports(name, path, MODULES)
        if target.split('.')[0] in HOSTS or (target.startswith('mmentropy') and house.floor_of(target) != 'ops')
    ]
    assert found == []


def test_no_two_modules_share_a_name():
    places = defaultdict(list)
    for name, path in MODULES.items():
        if path.name != '__init__.py':
            places[path.name].append(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_two_public_classes_share_a_name():
    places = defaultdict(list)
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
                places[node.name].append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_picture_is_current():
    assert house.PICTURE.read_text(encoding='utf-8') == house.draw(), 'run python docs/make_architecture.py'


def namesake(module: str) -> str:
    """Where the test of a module stands: ``ops/a/b.py`` is tested by ``tests/ops/a/test_b.py``."""
    path = Path(module)
    return 'tests/' + path.with_name('test_' + path.name.lstrip('_')).as_posix()


def test_every_module_has_a_test_of_its_name():
    modules = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob('*.py') if path.name != '__init__.py'}
    assert set(WITHOUT_TEST) <= modules, 'renamed or removed'
    missing = [module for module in sorted(modules) if not (PACKAGE.parent / namesake(module)).is_file()]
    assert missing == sorted(WITHOUT_TEST), [namesake(module) for module in missing]


def test_tests_find_their_helpers_without_editing_the_path():
    tests = Path(__file__).parent
    found = []
    for path in sorted(tests.rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == 'sys.path':
                found.append(f'{path.relative_to(tests)}:{node.lineno}')
    assert [place for place in found if not place.startswith('docs/test_commands.py')] == []  # it runs scripts
