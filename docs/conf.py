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
source_suffix = {'.md': 'markdown'}
exclude_patterns = ['_build']
myst_heading_anchors = 3
# Formulae are Unicode text in indented blocks: they read alike in a terminal, on a code host and here.
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
