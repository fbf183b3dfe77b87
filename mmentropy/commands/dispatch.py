# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The command ``mmentropy``: finds the script of a name, and runs it.

A script is run as ``python tools/NAME.py`` would run it, so that both are the same program. The scripts lie in
``mmentropy/.mim/tools``: in a wheel as files, in a clone as a link to ``tools/``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from mmentropy import __version__
from mmentropy.commands.completion import SHELLS, completion_script

TOOLS = Path(__file__).resolve().parents[1] / '.mim' / 'tools'
#: Name → its script below ``tools/`` and what it does, in the order in which a newcomer meets them.
COMMANDS: Mapping[str, tuple[str, str]] = {
    'doctor': ('doctor.py', 'what is installed, what is missing, and how to mend it'),
    'demo': ('demo.py', 'plain CAM and the entropy recipe on drawn images, or on your photograph'),
    'train': ('train.py', 'train a model from a config'),
    'test': ('test.py', 'evaluate a checkpoint'),
    'localize': ('localize.py', 'class maps, boxes and masks of images'),
    'explain': ('explain.py', 'images by several methods side by side'),
    'explore': ('explore.py', 'the same in the browser, with class, reading and threshold at hand'),
    'eval-maps': ('eval_maps.py', "evaluate anybody's score maps"),
    'seg': ('seg_pipeline.py', 'from image labels to a tested segmenter'),
    'report': ('report.py', 'one HTML page for a run'),
    'compare': ('analysis_tools/compare.py', 'train and evaluate configs × seeds, one table'),
    'sweep': ('analysis_tools/entropy_sweep.py', 'the weight of the entropy regularisers, swept and drawn'),
    'prepare': ('dataset_tools/prepare.py', 'a data set from its archives'),
    'check': ('dataset_tools/check.py', 'is a data set whole?'),
    'browse': ('browse_dataset.py', "look at a config's images, boxes and masks"),
    'export': ('export_onnx.py', 'a classifier as ONNX, with its maps'),
}


def further_commands(tools: Path = TOOLS) -> dict[str, tuple[str, str]]:
    """The scripts that have no short name, by their file's: ``center-baseline`` → ``center_baseline.py``."""
    named = {script for script, _ in COMMANDS.values()}
    found = {}
    for path in sorted(tools.rglob('*.py'), key=lambda path: path.name):
        script = path.relative_to(tools).as_posix()
        if script not in named:
            found[path.stem.replace('_', '-')] = (script, _first_sentence(path))
    return found


def run_command(arguments: Sequence[str] | None = None) -> None:
    """Run ``mmentropy NAME …``.

    Args:
        arguments: the words after ``mmentropy``; None takes those of the process.

    Raises:
        SystemExit: as the tool ends; 2 for a name that there is not.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ('-h', '--help', 'help'):
        print(help_text())
        return
    name, rest = words[0], words[1:]
    if name in ('-V', '--version'):
        print(f'mmentropy {__version__}')
        return
    if name == 'completion':
        print(_completion(rest))
        return
    commands = {**further_commands(), **COMMANDS}
    if name not in commands:
        near = get_close_matches(name.replace('_', '-'), [*commands, 'completion'], 3, 0.5)
        said = f'did you mean {" or ".join(near)}?' if near else 'mmentropy --help lists them'
        _stop(f'there is no command {name!r}; {said}')
    script = TOOLS / commands[name][0]
    if not script.is_file():
        _stop(f'{script} is missing: the installation is not whole; install mmentropy again')
    sys.argv = [f'mmentropy {name}', *rest]
    _run_as_main(script)


def help_text() -> str:
    """What ``mmentropy --help`` prints.

    >>> print(help_text().splitlines()[0])
    usage: mmentropy COMMAND …
    """
    lines = ['usage: mmentropy COMMAND …', '', 'mmentropy COMMAND --help tells the options of each.', '']
    lines += [f'  {name:12s} {told}' for name, (_, told) in COMMANDS.items()]
    lines += ['  completion   a script that completes names and options in bash, zsh or fish', '', 'further tools:', '']
    lines += [f'  {name:24s} {told}' for name, (_, told) in further_commands().items()]
    return '\n'.join(lines)


def _run_as_main(script: Path) -> None:
    """As ``python SCRIPT`` does: processes which a tool starts find its code. runpy would rename the command."""
    module = ModuleType('__main__')
    module.__file__ = str(script)
    sys.modules['__main__'] = module
    exec(compile(script.read_bytes(), str(script), 'exec'), module.__dict__)


def _first_sentence(path: Path) -> str:
    """What a script says of itself, without the example."""
    told = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return told.partition('\n')[0].partition(': ``')[0].rstrip('.:')


def _completion(words: Sequence[str]) -> str:
    if list(words)[:1] == ['--help'] or len(words) != 1 or words[0] not in SHELLS:
        _stop(f'mmentropy completion {"|".join(SHELLS)} prints the script; {SHELLS["bash"]} loads it')
    return completion_script(words[0], [*COMMANDS, 'completion', *further_commands()])


def _stop(message: str) -> None:
    print(f'error: {message}', file=sys.stderr)
    raise SystemExit(2)
