# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Packaging of mmentropy. The OpenMMLab packages are extras: two families share the same import names."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '([^']+)'", (HERE / 'mmentropy/__init__.py').read_text()).group(1)

# The maintained family: nothing to compile. mmsegmentation imports ftfy and regex without declaring them.
ONEDL = ['onedl-mmengine>=0.10.10', 'onedl-mmcv>=2.3', 'onedl-mmpretrain>=1.3', 'onedl-mmsegmentation>=1.4']
# The original family, whose last releases need these older partners.
OPENMMLAB = ['mmengine>=0.10.4', 'mmcv>=2.0,<2.2', 'mmpretrain>=1.2', 'mmsegmentation>=1.2.2']
OPENMMLAB += ['torch<2.6', 'numpy<2', 'setuptools<81']
# mmcv without compiled operators: nothing to compile, and all that this package needs.
OPENMMLAB_LITE = [name.replace('mmcv>', 'mmcv-lite>') for name in OPENMMLAB]
HOST_GAPS = ['ftfy', 'regex']
# nbclient and ipykernel run the notebooks, pyyaml reads the metafiles.
TEST = ['pytest', 'pytest-xdist', 'hypothesis', 'ruff', 'mypy', 'nbclient', 'nbformat', 'ipykernel', 'pyyaml']
# What tools and tests use where it is there: the linear probe, ONNX, other networks, other explainers, curves.
TEST += ['scikit-learn', 'onnx', 'onnxruntime', 'timm', 'grad-cam', 'torchcam', 'tensorboard']
# The explorer, and the client that its tests ask with.
EXPLORE = ['fastapi', 'uvicorn']
TEST += [*EXPLORE, 'httpx']
# --launcher ray; has wheels for Python 3.10 to 3.13.
RAY = ['ray>=2.9']

setup(
    name='mmentropy',
    version=VERSION,
    description='Image classifiers into localisers and segmenters, through the entropy of their predictions',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8') if (HERE / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10',
    packages=find_packages(include=['mmentropy', 'mmentropy.*']),
    # .mim links to configs/, tools/ and model-index.yml: where mim and `mmentropy::` look in any OpenMMLab package.
    package_data={
        'mmentropy': [
            *(
                'py.typed',
                'visualization/*.html',
                'segmentation/*.html',
                'explore/*.html',
                'experiments/*.pth',
                'experiments/*.csv',
            ),
            '.mim/model-index.yml',
        ]
        + [f'.mim/**/*.{suffix}' for suffix in ('py', 'yml', 'sh')]
    },
    entry_points={'console_scripts': ['mmentropy = mmentropy.commands:run_command']},
    install_requires=['torch', 'torchvision', 'numpy', 'scipy', 'numba', 'opencv-python', 'rich', 'matplotlib'],
    extras_require={
        'onedl': ONEDL + HOST_GAPS,
        'openmmlab': OPENMMLAB + HOST_GAPS,
        'openmmlab-lite': OPENMMLAB_LITE + HOST_GAPS,
        'ray': RAY,
        'explore': EXPLORE,
        'test': TEST + RAY,
        'docs': ['sphinx', 'furo', 'myst-parser', 'sphinx-mathjax-offline'],
    },
    classifiers=[
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
