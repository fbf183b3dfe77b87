# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The scope facts that the package stands on, one by one."""

import copy
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as PRETRAIN_MODELS
from mmseg.registry import MODELS as SEG_MODELS

import mmentropy
import mmentropy.registry
from mmentropy.command_line import user_message
from mmentropy.models import CAMHead, EntropyPooling, EntropyRegularizedLoss
from mmentropy.registry import MODELS

CLASSIFIER = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8),
    neck=dict(type='mmentropy.EntropyPooling', num_classes=3, in_channels=64),
    head=dict(type='mmentropy.CAMHead', num_classes=3, in_channels=64),
)


@pytest.mark.parametrize('registry', [PRETRAIN_MODELS, SEG_MODELS], ids=['mmpretrain', 'mmseg'])
@pytest.mark.parametrize('scope', ['mmpretrain', 'mmseg'])
def test_prefixed_types_are_found_from_both_hosts_under_both_scopes(registry, scope):
    with DefaultScope.overwrite_default_scope(scope):
        assert type(registry.build(dict(type='mmentropy.EntropyPooling'))) is EntropyPooling
        assert type(registry.build(dict(type='mmentropy.EntropyRegularizedLoss'))) is EntropyRegularizedLoss


def test_prefixed_types_are_found_in_a_process_that_never_imported_us():
    code = (
        'from mmengine.registry import DefaultScope, init_default_scope\n'
        'from mmpretrain.registry import MODELS\n'
        'init_default_scope("mmpretrain")\n'
        'print(type(MODELS.build(dict(type="mmentropy.EntropyPooling"))).__module__)'
    )
    out = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=True)
    assert out.stdout.split()[-1] == 'mmentropy.models.necks.entropy_pooling'


def test_a_bare_type_under_a_host_scope_is_not_ours():
    with (
        DefaultScope.overwrite_default_scope('mmpretrain'),
        pytest.raises(KeyError, match='EntropyPooling is not in the mmpretrain::model registry'),
    ):
        PRETRAIN_MODELS.build(dict(type='EntropyPooling'))


def test_our_types_inside_a_stock_classifier():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = PRETRAIN_MODELS.build(copy.deepcopy(CLASSIFIER))
    assert type(model) is ImageClassifier
    assert type(model.head) is CAMHead
    assert model.neck.scorer.weight.shape == (3, 64)


def test_a_host_classifier_under_the_other_host_needs_its_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        with pytest.raises(KeyError, match='ClsDataPreprocessor'):
            SEG_MODELS.build(copy.deepcopy(CLASSIFIER))
        model = SEG_MODELS.build(dict(copy.deepcopy(CLASSIFIER), _scope_='mmpretrain'))
    assert type(model.neck) is EntropyPooling


def test_our_head_builds_its_default_loss_in_mmpretrain_under_any_scope():
    for scope in ('mmpretrain', 'mmseg'):
        with DefaultScope.overwrite_default_scope(scope):
            head = MODELS.build(dict(type='mmentropy.CAMHead', num_classes=3, in_channels=4))
        assert type(head.loss_module).__module__.startswith('mmpretrain.')


def test_our_loss_in_an_mmseg_decode_head():
    import torch
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    with DefaultScope.overwrite_default_scope('mmseg'):
        head = SEG_MODELS.build(
            dict(
                type='FCNHead',
                in_channels=4,
                channels=4,
                num_convs=1,
                num_classes=3,
                norm_cfg=None,
                loss_decode=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=0.1),
            )
        )
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.tensor([[[0, 1], [2, 255]]])))
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 2, 2)
    losses = head.loss_by_feat(logits, [sample])
    log_p = logits[0].flatten(1).t()[:3].log_softmax(1)
    divergence = -log_p.mean(1) - torch.tensor(3.0).log()
    expected = (-log_p[range(3), range(3)] + 0.1 * divergence).mean()
    torch.testing.assert_close(losses['loss_er'], expected)


@pytest.mark.parametrize(
    ('name', 'near'),
    [
        ('mmentropy.EntropyPoolng', 'did you mean mmentropy.EntropyPooling?'),
        ('EntropyPooling', 'did you mean mmentropy.EntropyPooling?'),
        ('mmentropy.ImageClassifer', 'did you mean ImageClassifier?'),
        ('Qqqqqq', 'ours begin with mmentropy., the host’s with no prefix'),
    ],
)
@pytest.mark.parametrize('scope', ['mmpretrain', 'mmseg'])
def test_an_unknown_type_names_those_near_it(name, near, scope):
    with DefaultScope.overwrite_default_scope(scope), pytest.raises(KeyError) as unknown:
        PRETRAIN_MODELS.build(dict(type=name))
    said = user_message(unknown.value)
    assert said == f"there is no model '{name}'; {near}"


@pytest.mark.parametrize('name', ['DATASETS', 'DATA_SAMPLERS', 'HOOKS', 'LOOPS', 'METRICS', 'TRANSFORMS'])
def test_every_module_that_registers_is_found(name):
    """The packages do not import all of their modules: what the registries import says so instead."""
    package = Path(mmentropy.__file__).parent
    registering = {
        '.'.join(path.relative_to(package.parent).with_suffix('').parts)
        for path in package.rglob('*.py')
        if f'\n@{name}.register_module()' in path.read_text(encoding='utf-8')
    }
    registry = getattr(mmentropy.registry, name)
    registry.import_from_location()
    assert registering
    assert {found.__module__ for found in registry.module_dict.values()} >= registering
    assert [place for place in registry._locations if importlib.util.find_spec(place) is None] == []


def test_metrics_are_found_in_a_process_that_has_none():
    code = (
        'from mmentropy.registry import DATASETS, DATA_SAMPLERS, METRICS\n'
        'metric = METRICS.build(dict(type="mmentropy.BoxLocalizationMetric"))\n'
        'print(metric.prefix, DATASETS.get("PartShapes").__name__, DATA_SAMPLERS.get("FewSamplesSampler").__name__)'
    )
    out = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ['wsol', 'PartShapes', 'FewSamplesSampler']
