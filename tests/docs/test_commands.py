# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Every command and every Python block of the README and the manual.

Blocks that the page marks are executed as they stand. Of the others, which need data, a GPU or hours, everything that
can be known without running is checked: the tool's own parser accepts the arguments, configs load with the overrides,
``make`` knows the targets, extras exist. A command of a kind that is not known here fails the test. What stands in the
middle of a sentence may leave out what a tool requires; what it does say is held to the same.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import setuptools
from doc_blocks import ROOT, Block, Command, blocks, commands, inline_commands, is_shell, spans
from mmengine.config import Config

from mmentropy.commands.dispatch import COMMANDS, further_commands
from mmentropy.engine.config_options import RUN_GROUPS
from mmentropy.engine.startup import load_config
from mmentropy.segmentation.pipeline import PIPELINE_GROUPS

#: Words that stand for something of the reader's.
PLACEHOLDERS = {'CONFIG', 'CKPT', 'MAPS', 'DIR', 'WORK_DIR', 'PARTITION', 'JOB_NAME', 'MAPS.json'}
#: Packages beside our own requirements that a page tells the reader to install.
OTHER_PACKAGES = {'onedl-mim', 'torch', 'torchvision', 'pre-commit', 'pydensecrf2', 'onnxruntime', 'lmdb'}
#: Pages that put another repository's options beside ours.
PAGES_FROM_ELSEWHERE = 'docs/howto/from_'
HOST_KEYS = {'type', '_delete_', '_scope_', 'init_cfg'}

SHELL: dict[str, list[Block]] = defaultdict(list)
PYTHON: dict[str, list[Block]] = defaultdict(list)
RUN: dict[str, list[Block]] = defaultdict(list)
for _block in [*blocks(), *inline_commands()]:
    if is_shell(_block):
        SHELL[_block.page].append(_block)
    elif _block.language == 'python':
        PYTHON[_block.page].append(_block)
    if _block.runs:
        RUN[_block.page].append(_block)


class Parsed(BaseException):
    """Carries what a tool's parser made of its arguments out of the tool. No tool catches it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__()
        self.arguments = arguments


def parsed_by(script: Path, words: list[str], monkeypatch, partly: bool = False) -> argparse.Namespace:
    """What the script's own argparse makes of the words, ``partly``: nothing is required; the script stops there."""
    assert script.is_file(), f'there is no {script.name}'
    assert 'parse_args' in script.read_text(), f'{script.name} reads no arguments: it would run'
    original = argparse.ArgumentParser.parse_args

    def parse(self, args=None, namespace=None):
        if partly:
            require_nothing(self)
        raise Parsed(original(self, args, namespace))

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', parse)
        patch.setattr(sys, 'argv', [str(script), *words])
        # As `python script` has it: benchmarks import their neighbour.
        patch.setattr(sys, 'path', [str(script.parent), *sys.path])
        try:
            runpy.run_path(str(script), run_name='__main__')
        except Parsed as parsed:
            return parsed.arguments
        except SystemExit as end:
            pytest.fail(f'{script.name} refuses {" ".join(words)!r} (exit code {end.code})')
    pytest.fail(f'{script.name} ran to its end without reading its arguments')


def require_nothing(parser: argparse.ArgumentParser) -> None:
    for action in [*parser._actions, *parser._mutually_exclusive_groups]:
        action.required = False
        if not getattr(action, 'option_strings', True):
            action.nargs = {None: '?', '+': '*'}.get(action.nargs, action.nargs)


def named_configs(arguments: argparse.Namespace) -> dict[str, list[Path]]:
    """Option → config files that it names (``NAME=CONFIG`` included)."""
    found = defaultdict(list)
    for option, value in vars(arguments).items():
        for word in value if isinstance(value, list | tuple) else [value]:
            name = str(word).rpartition('=')[2]
            if isinstance(word, str | Path) and name.endswith('.py'):
                found[option].append(Path(name))
    return found


def check_tool(script: str, words: list[str], sandbox: Path, monkeypatch, partly: bool = False) -> None:
    """A Python command line: arguments, configs, overrides."""
    arguments = parsed_by(sandbox / script, words, monkeypatch, partly)
    for option, paths in named_configs(arguments).items():
        options = getattr(arguments, 'eval_options' if option.startswith('eval_config') else 'cfg_options', None)
        for path in paths:
            # Every override is a key that the config or its types know.
            file = str(path) if '::' in str(path) else str(sandbox / path)
            load_config(file, options, PIPELINE_GROUPS if 'seg_pipeline' in script else RUN_GROUPS)


def check_python(command: Command, sandbox: Path, monkeypatch) -> None:
    script, *words = command.words[1:]
    if script == '-c':
        exec(compile(words[0], 'the manual', 'exec'), {})
    elif script == '-m' and words[0] == 'mmentropy':
        assert words[1:] == []
    elif script == '-m' and words[0] == 'pytest':
        assert all((ROOT / word).exists() for word in words[1:] if word.startswith('tests'))
    else:
        check_tool(script, words, sandbox, monkeypatch)


def check_shell_script(command: Command, sandbox: Path, monkeypatch) -> None:
    """``tools/*.sh``: executable, well-formed, environment variables that it reads, the rest for the Python tool."""
    script, *words = command.words
    path = ROOT / script
    assert os.access(path, os.X_OK), f'{script} is not executable'
    subprocess.run(['bash', '-n', path], check=True)
    text = path.read_text() + (ROOT / 'tools/rendezvous.sh').read_text()
    assert all(re.search(rf'\${{?{name}\b', text) for name in command.variables), command.variables
    if 'slurm' in script:
        config, rest = words[2], words[3:]
    elif 'test' in script:
        config, rest = words[0], [words[1], *words[3:]]
        assert words[2].isdigit()
    else:
        config, rest = words[0], words[2:]
        assert words[1].isdigit()
    tool = 'tools/test.py' if 'test' in script else 'tools/train.py'
    check_tool(tool, [config, *rest], sandbox, monkeypatch)


def check_benchmark_script(command: Command, sandbox: Path, monkeypatch) -> None:
    subprocess.run(['bash', '-n', ROOT / command.words[0]], check=True)
    assert os.access(ROOT / command.words[0], os.X_OK)


def check_make(command: Command, sandbox: Path, monkeypatch) -> None:
    """``make -n`` finds the targets; variables are the Makefile's own."""
    makefile = (ROOT / 'Makefile').read_text()
    settings = [word for word in command.words[1:] if '=' in word]
    for word in settings:
        assert re.search(rf'^{word.partition("=")[0]} \?=', makefile, re.M), f'the Makefile has no variable {word}'
    done = subprocess.run(['make', '-n', *command.words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def setup_arguments(monkeypatch) -> dict:
    """What ``setup.py`` gives to setuptools."""
    seen: dict = {}
    with monkeypatch.context() as patch:
        patch.setattr(setuptools, 'setup', seen.update)
        patch.chdir(ROOT)
        runpy.run_path('setup.py')
    return seen


def check_pip(command: Command, sandbox: Path, monkeypatch) -> None:
    """Extras exist; names are ours, our requirements', or listed above."""
    ours = setup_arguments(monkeypatch)
    known = {re.split(r'[<>=\[]', name)[0] for group in ours['extras_require'].values() for name in group}
    known |= set(ours['install_requires']) | OTHER_PACKAGES | {ours['name'], '.'}
    if command.words[1] == 'wheel':
        assert command.words[-1] == '.'
        return
    assert command.words[1] == 'install'
    if any(re.search('[<>=]', word) for word in command.words):  # what `make install` runs, too
        lines = re.findall(r'pip install --quiet (.+)', (ROOT / 'Makefile').read_text())
        assert command.words[2:] in [shlex.split(line) for line in lines]
        return
    words = iter(command.words[2:])
    for word in words:
        if word in ('-c', '-r'):
            assert (ROOT / next(words)).is_file()
        elif '.whl' in word:
            extra = re.fullmatch(rf'dist/{ours["name"]}-{re.escape(ours["version"])}-py3-none-any\.whl\[(\w+)\]', word)
            assert extra[1] in ours['extras_require']
        elif word != '-e':
            name, extras = re.fullmatch(r'([\w.-]+)(?:\[([\w,-]+)\])?', word).groups()
            assert name in known, f'{name} is no requirement of ours'
            assert not extras or set(extras.split(',')) <= set(ours['extras_require']), extras


def check_command(command: Command, sandbox: Path, monkeypatch) -> None:
    """``mmentropy NAME …`` is a script under ``tools/``."""
    name, *words = command.words[1:]
    if name in ('--help', '--version'):
        return
    script, _ = {**further_commands(), **COMMANDS}[name]
    check_tool(f'tools/{script}', words, sandbox, monkeypatch)


def check_eval(command: Command, sandbox: Path, monkeypatch) -> None:
    """Only completion is loaded so."""
    assert re.fullmatch(r'\$\(mmentropy completion (bash|zsh)\)', ' '.join(command.words[1:]).strip('"'))


def check_mim(command: Command, sandbox: Path, monkeypatch) -> None:
    """mim hands the arguments to a script of ours or the host's: does that accept them?"""
    import mmpretrain

    _, action, package, config, *rest = command.words
    if '--checkpoint' in rest:
        at = rest.index('--checkpoint')
        rest = [rest[at + 1], *rest[:at], *rest[at + 2 :]]
    if package == 'mmentropy':
        words = [f'tools/{config}.py', *rest] if action == 'run' else [f'tools/{action}.py', config, *rest]
        check_tool(words[0], words[1:], sandbox, monkeypatch)
        return
    assert package == 'mmpretrain'
    script = Path(mmpretrain.__file__).parent / f'.mim/tools/{action}.py'
    parsed_by(script, [config, *rest], monkeypatch)
    Config.fromfile(str(sandbox / config))


def check_activate(command: Command, sandbox: Path, monkeypatch) -> None:
    assert f'VENV ?= {command.words[1].partition("/")[0]}\n' in (ROOT / 'Makefile').read_text()


def check_pre_commit(command: Command, sandbox: Path, monkeypatch) -> None:
    assert command.words[1] in ('install', 'run')
    assert (ROOT / '.pre-commit-config.yaml').is_file()


def check_export(command: Command, sandbox: Path, monkeypatch) -> None:
    """Variables of the communication libraries, which no tool of ours reads."""
    assert all(re.match(r'(NCCL|GLOO|OMP|NUMBA|MMENTROPY)_[A-Z_]+=', word) for word in command.words[1:])


def check_started_by(command: Command, sandbox: Path, monkeypatch) -> None:
    """``torchrun`` and ``srun``: what they start is a tool of ours."""
    first = next(i for i, word in enumerate(command.words) if word.endswith('.py'))
    check_tool(command.words[first], command.words[first + 1 :], sandbox, monkeypatch)


def check_scheduler(command: Command, sandbox: Path, monkeypatch) -> None:
    assert command.words[:2] == ['scontrol', 'requeue']


def check_condition(command: Command, sandbox: Path, monkeypatch) -> None:
    assert command.words[-1] == ']'


def check_inline(command: Command, sandbox: Path, monkeypatch) -> bool:
    """A script or a command of ours that a sentence names, with some of its options; False for a whole command."""
    first, *words = [word for word in command.words if word != 'python'] or ['']
    if first == 'mmentropy' and words and words[0] not in ('--help', '--version', 'NAME'):
        script, _ = {**further_commands(), **COMMANDS}[words[0]]
        first, *words = f'tools/{script}', *words[1:]
    elif first == 'mim':
        assert words[0] in ('train', 'test', 'run')
        assert {*words[1:]} <= {'mmentropy', 'mmpretrain', 'onedl-mmpretrain'}
        return True
    if not re.match(r'(tools|benchmarks|docs)/.', first):
        return command.words[1:] == ['NAME']
    if not words:
        assert (ROOT / first).is_file(), f'there is no {first}'
    elif first.endswith('.py'):
        check_tool(first, words, sandbox, monkeypatch, partly=True)
    return not words or first.endswith('.py')


KINDS: dict[str, Callable] = {
    r'python': check_python,
    r'tools/\w+\.sh': check_shell_script,
    r'torchrun|srun': check_started_by,
    r'benchmarks/\w+\.sh': check_benchmark_script,
    r'make': check_make,
    r'pip': check_pip,
    r'mim': check_mim,
    r'mmentropy': check_command,
    r'eval': check_eval,
    r'\.': check_activate,
    r'pre-commit': check_pre_commit,
    r'export': check_export,
    r'scontrol': check_scheduler,
    r'\[': check_condition,
}


@pytest.mark.parametrize('page', SHELL)
def test_commands_are_right(page, sandbox, monkeypatch):
    monkeypatch.chdir(sandbox)
    for block in SHELL[page]:
        # Lines in brackets, as in a manual page, list further options.
        plain = re.sub(r'^\s+\[.*$', '', block.text, flags=re.M)
        done = subprocess.run(['bash', '-n'], input=plain, capture_output=True, text=True)
        assert done.returncode == 0, f'{block.name}: {done.stderr}'
        for command in commands(block.text):
            if block.inline and check_inline(command, sandbox, monkeypatch):
                continue
            kinds = [check for pattern, check in KINDS.items() if re.fullmatch(pattern, command.words[0])]
            assert kinds, f'{block.name}: {command.words[0]} is a kind of command that no check is written for'
            kinds[0](command, sandbox, monkeypatch)


@pytest.mark.parametrize('page', RUN)
def test_marked_blocks_run(page, sandbox, monkeypatch):
    """As they stand, in order, in this process: starting one costs more than the work."""
    monkeypatch.chdir(sandbox)
    names: dict[str, Any] = {'__name__': 'manual'}
    for block in RUN[page]:
        if block.language == 'python':
            exec(compile(block.text, block.name, 'exec'), names)
            continue
        for command in commands(block.text):
            assert command.words[0] == 'python', f'{block.name}: only python commands are run'
            monkeypatch.setattr(sys, 'argv', command.words[1:])
            code = 0
            try:
                runpy.run_path(command.words[1], run_name='__main__')
            except SystemExit as end:
                code = end.code
            assert not code, f'{block.name}: {" ".join(command.words)} ended with {code}'
    if page == 'docs/get_started.md':
        left = {path.name for path in (sandbox / 'work_dirs/first').iterdir()}
        assert {'epoch_2.pth', 'figures.json', 'browse.png', 'center.json', 'panels'} <= left


# --- Python blocks ------------------------------------------------------------------------------------------------


def registered(name: str) -> Any:
    """The class or function behind a ``type='…'`` of the manual, in our registries or the hosts'."""
    import mmpretrain.registry
    import mmseg.registry
    from mmengine.registry import Registry

    from mmentropy import registry

    ours = [v for v in vars(registry).values() if isinstance(v, Registry) and v.scope == 'mmentropy']
    hosts = [v for m in (mmpretrain, mmseg) for v in vars(m.registry).values() if isinstance(v, Registry)]
    scope, _, bare = name.rpartition('.')
    if scope == 'mmentropy':
        candidates = ours
    else:
        # The stages and the data of a pipeline config have no prefix: no host reads them.
        candidates = [*hosts, registry.STAGES, registry.SOURCES, registry.EXPLAINERS]
    for candidate in candidates:
        candidate.import_from_location()
        if bare in candidate.module_dict:
            return candidate.module_dict[bare]
        parent = candidate.parent
        if scope != 'mmentropy' and parent is not None and bare in parent.module_dict:
            return parent.module_dict[bare]
    raise AssertionError(f'{name} is in no registry')


def accepted(target: Any) -> set[str] | None:
    """Names of the keyword arguments; None where anything goes."""
    names: set[str] = set()
    chain = [cls.__init__ for cls in target.__mro__ if '__init__' in vars(cls)] if inspect.isclass(target) else [target]
    for function in chain:
        if function is object.__init__:
            return names
        parameters = inspect.signature(function).parameters.values()
        names |= {parameter.name for parameter in parameters}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return names
    return None


def literal_types(tree: ast.AST):
    """(type name, keyword names) of each ``dict(type='…', …)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
            words = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            kind = words.get('type')
            if isinstance(kind, ast.Constant) and isinstance(kind.value, str):
                yield kind.value, set(words)


def check_imports(tree: ast.AST, name: str) -> None:
    """What is imported is there, and is called with keywords that it takes."""
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = __import__(node.module, fromlist=['x'])
            for alias in node.names:
                assert hasattr(module, alias.name), f'{name}: {node.module} has no {alias.name}'
                found[alias.asname or alias.name] = getattr(module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                __import__(alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in found:
            names = accepted(found[node.func.id])
            given = {keyword.arg for keyword in node.keywords if keyword.arg}
            assert names is None or given <= names, f'{name}: {node.func.id} takes no {given - names}'


@pytest.mark.parametrize('page', PYTHON)
def test_python_blocks_are_right(page, sandbox, monkeypatch):
    """Compiled; imports resolved; registered types found, with keywords they take; configs loaded and models built."""
    from mmengine.registry import MODELS, init_default_scope

    from mmentropy.segmentation import SeedPipeline

    monkeypatch.chdir(sandbox)
    local = {node.name for block in PYTHON[page] for node in ast.walk(ast.parse(block.text)) if is_class(node)}
    for number, block in enumerate(PYTHON[page]):
        tree = ast.parse(block.text, block.name)
        check_imports(tree, block.name)
        for kind, words in literal_types(tree):
            if kind.rpartition('.')[2] not in local:
                names = accepted(registered(kind))
                extra = set() if names is None else words - names - HOST_KEYS
                assert not extra, f'{block.name}: {kind} takes no {sorted(extra)}'
        base = '' if re.search(r'^_base_ =', block.text, re.M) else "_base_ = './resnet50_cub.py'\n"
        if '_base_' in block.text:
            folder = 'voc' if 'stages' in block.text or '_seg.py' in block.text else 'wsol'
            path = sandbox / f'configs/{folder}/page_{abs(hash(page))}_{number}.py'
            path.write_text(base + block.text)
            if folder == 'voc':
                assert SeedPipeline.from_config(path).stages
                continue
            cfg = Config.fromfile(str(path))
            init_default_scope(cfg.default_scope)
            cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
            MODELS.build(cfg.model)


def known_options() -> set[str]:
    """Every option that a script of ours adds to its parser."""
    files = [path for name in ('tools', 'mmentropy', 'benchmarks', 'docs') for path in (ROOT / name).rglob('*.py')]
    strings = (re.findall(r"['\"](--[a-z][\w-]*)", path.read_text(encoding='utf-8')) for path in files)
    return {word for words in strings for word in words}


def test_options_that_a_sentence_names_are_there():
    """`--threshold auto` in a sentence: some script of ours has that option."""
    known = known_options()
    ours = [span for span in spans() if not span[0].startswith(PAGES_FROM_ELSEWHERE)]
    named = [
        (f'{page}:{line}', word) for page, line, text in ours for word in re.findall(r'(?<!\S)--[a-z][\w-]*', text)
    ]
    assert len(named) > 50
    assert [(where, word) for where, word in named if word not in known] == []


def is_class(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef)


def test_a_sentence_that_names_what_is_not_there_is_found(sandbox, monkeypatch):
    """The check of half commands refuses what a reader could not type."""
    for right in ('mmentropy doctor', 'tools/eval_maps.py --threshold auto', 'python docs/make_zoo.py', 'mim run'):
        assert check_inline(commands(right)[0], sandbox, monkeypatch)
    assert not check_inline(commands('make test')[0], sandbox, monkeypatch)
    with pytest.raises(KeyError, match='localise'):
        check_inline(commands('mmentropy localise')[0], sandbox, monkeypatch)
    with pytest.raises(AssertionError, match=r'there is no tools/eval\.py'):
        check_inline(commands('tools/eval.py')[0], sandbox, monkeypatch)
    with pytest.raises(pytest.fail.Exception, match='refuses'):
        check_inline(commands('tools/report.py --threshhold 1')[0], sandbox, monkeypatch)


def test_nothing_was_overlooked():
    """The parser of this test found the blocks: a change of its patterns that finds none would pass everything."""
    assert {'README.md', 'docs/get_started.md', 'docs/results.md'} <= set(SHELL)
    assert {'README.md', 'docs/evaluation.md'} <= set(PYTHON)
    assert 'docs/get_started.md' in RUN
    text = 'A="x y"\ntool --a $A \\\n  --b  # why\nN=2 other; third | fourth\n'
    assert [(c.words, c.variables) for c in commands(text)] == [
        (['tool', '--a', 'x', 'y', '--b'], {}),
        (['other'], {'N': '2'}),
        (['third'], {}),
        (['fourth'], {}),
    ]
