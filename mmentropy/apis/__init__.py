# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .localizer import Localization, Localizer

__all__ = ['Localization', 'Localizer']
