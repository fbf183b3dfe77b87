# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""mmentropy: classifiers into localisers and segmenters, through the entropy of their predictions.

Imports nothing: ``import mmentropy`` costs nothing, and the registries are found by name (``mmentropy.registry``).
"""

__version__ = '0.1.0'
