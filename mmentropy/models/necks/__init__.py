# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .entropy_pooling import EntropyPooling
from .tied_pooling import TiedPooling

__all__ = ['EntropyPooling', 'TiedPooling']
