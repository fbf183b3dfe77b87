# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The manual: ``make docs`` builds it into docs/_build/html, and any warning is an error."""

import os
import warnings
from pathlib import Path

# One thread is enough to import the packages that autodoc reads.
os.environ.setdefault('OMP_NUM_THREADS', '1')
warnings.filterwarnings('ignore')  # of the hosts, at import

project = 'mmentropy'
author = 'mmentropy authors'
copyright = 'mmentropy authors, Apache License 2.0'
release = version = Path(__file__).parents[1].joinpath('mmentropy/__init__.py').read_text().split("'")[1]

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
extensions += ['sphinx-mathjax-offline']  # formulae of the reference without a network, too
source_suffix = {'.md': 'markdown'}
exclude_patterns = ['_build']
myst_heading_anchors = 3
# Formulae between dollars: a code host draws them as this manual does, here without a network.
myst_enable_extensions = ['deflist', 'dollarmath', 'amsmath']
highlight_language = 'text'

autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_use_ivar = True
python_use_unqualified_type_names = True

html_theme = 'furo'
html_title = f'mmentropy {release}'
html_static_path = ['_static']
html_css_files = ['mmentropy.css']
html_show_sphinx = False

#: Pages that benchmark runs write; the table of contents has them once they are there.
WRITTEN_BY_MEASURING = ('benchmarks', 'scaling')


def list_modules(app, docname: str, source: list[str]) -> None:
    """Replace a line ``modules of PACKAGE`` by one autodoc section a module, so that no module can be forgotten."""
    lines = []
    for line in source[0].splitlines():
        if docname == 'index' and line in WRITTEN_BY_MEASURING and not Path(__file__).with_name(f'{line}.md').exists():
            continue
        package = line.removeprefix('modules of ') if docname.startswith('reference/') else line
        if package == line:
            lines.append(line)
            continue
        folder = Path(__file__).parents[1].joinpath(*package.split('.'))
        for path in sorted(folder.rglob('*.py')):
            if path.name != '__init__.py':
                below = '.'.join(path.relative_to(folder).with_suffix('').parts)
                lines += [f'## {below}', '', '```{eval-rst}', f'.. automodule:: {package}.{below}', '```', '']
    source[0] = '\n'.join(lines)


def escape_stars(app, what: str, name: str, obj, options, lines: list[str]) -> None:
    """``*args, **kwargs: as in the base`` is no emphasis."""
    for number, line in enumerate(lines):
        if line.lstrip().startswith('*args, **kwargs:'):
            lines[number] = line.replace('*args, **kwargs:', 'args, kwargs:')


def setup(app) -> None:
    # Before napoleon, which reads the arguments' section.
    app.connect('autodoc-process-docstring', escape_stars, priority=400)
    app.connect('source-read', list_modules)
