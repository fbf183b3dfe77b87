# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""model-index.yml, the metafiles, and the other YAML at the repository's root say what is there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from mmentropy import __version__

ROOT = Path(__file__).resolve().parents[2]


def load(path: Path | str) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding='utf-8'))


METAFILES = load('model-index.yml')['Import']
COLLECTIONS = {c['Name']: c for path in METAFILES for c in load(path)['Collections']}
MODELS = [model for path in METAFILES for model in load(path)['Models']]


def test_index_lists_every_metafile():
    assert sorted(METAFILES) == sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('configs/**/metafile.yml'))


def test_every_config_is_in_one_metafile():
    """tests/test_configs.py builds every config under configs/; here it is enough that the lists agree."""
    there = {str(path.relative_to(ROOT)) for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts}
    listed = Counter(model['Config'] for model in MODELS)
    assert set(listed) == there
    assert max(listed.values()) == 1
    assert max(Counter(model['Name'] for model in MODELS).values()) == 1


def test_collections_are_defined_and_have_pages():
    assert {model['In Collection'] for model in MODELS} == set(COLLECTIONS)
    for collection in COLLECTIONS.values():
        assert (ROOT / collection['README']).is_file(), collection['README']
        assert collection['Code']['Version'] == f'v{__version__}'


#: The collections of one component each: a config that is filed there has it. The others are about whole recipes.
WHOLE = {'Seeds to segmentation', 'Controls of min-max entropy'}


def test_configs_hold_what_their_collection_is_about():
    from mmengine.config import Config

    wrong = []
    for model in MODELS:
        # A third of the configs, of every collection some: loading takes longer than anything else here.
        if model['In Collection'] in WHOLE or '_cub' in model['Config'] or 'camelyon16' in model['Config']:
            continue
        text = repr(Config.fromfile(str(ROOT / model['Config'])).to_dict())
        for part in COLLECTIONS[model['In Collection']]['Metadata']['Architecture']:
            if f"{part}'" not in text:
                wrong.append(f'{model["Config"]} has no {part}')
    assert not wrong


def numbers(results: list[dict]) -> list[str]:
    return [str(value) for result in results for value in result['Metrics'].values()]


@pytest.mark.parametrize('model', [m for m in MODELS if m['Results']], ids=lambda m: m['Name'])
def test_results_stand_in_one_row_of_the_results_page(model):
    """All of a model's figures, in one table row: nothing is in a metafile that was not measured."""
    pages = [(ROOT / f'docs/{name}.md').read_text() for name in ('results', 'results_minmax')]
    rows = [line for page in pages for line in page.splitlines() if line.startswith('|')]
    wanted = numbers(model['Results'])
    assert wanted
    found = [row for row in rows if all(re.search(rf'(?<![\d.]){re.escape(n)}(?![\d.]*\d)', row) for n in wanted)]
    assert found, f'no row of docs/results.md or docs/results_minmax.md holds {wanted}'


def test_some_results_are_there():
    assert sum(bool(model['Results']) for model in MODELS) >= 4


def test_workflow_covers_pythons_and_families():
    jobs = load('.github/workflows/ci.yml')['jobs']
    matrix = jobs['test']['strategy']['matrix']
    pairs = {(python, family) for python in matrix['python'] for family in matrix['family']}
    pairs |= {(extra['python'], extra['family']) for extra in matrix['include']}
    assert {python for python, _ in pairs} == {'3.10', '3.11', '3.12', '3.13'}
    assert {family for _, family in pairs} == {'onedl', 'openmmlab'}
    targets = set(re.findall(r'^([a-z]+):', (ROOT / 'Makefile').read_text(), re.M))
    runs = [step['run'] for job in jobs.values() for step in job['steps'] if 'run' in step]
    assert runs
    assert all(re.match(r'make (\w+)', run)[1] in targets for run in runs)


def test_one_version_everywhere():
    pins = (ROOT / 'requirements/constraints.txt').read_text()
    ruff = re.search(r'^ruff==(\S+?);', pins, re.M)[1]
    assert load('.pre-commit-config.yaml')['repos'][0]['rev'] == f'v{ruff}'
    assert load('CITATION.cff')['version'] == __version__
    assert f'## {__version__}' in (ROOT / 'docs/changelog.md').read_text()
