# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .explained_classifier import ExplainedClassifier
from .localization_classifier import LocalizationClassifier
from .minmax_localizer import MinMaxLocalizer

__all__ = ['ExplainedClassifier', 'LocalizationClassifier', 'MinMaxLocalizer']
