# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .entropy_pooling import EntropyPooling
from .frequency_pooling import FrequencyPooling
from .global_max_pooling import GlobalMaxPooling
from .lse_pooling import LSEPooling
from .pcam_pooling import PCAMPooling
from .score_pooling import ClassScores, ScorePooling
from .second_order_pooling import SecondOrderPooling
from .tied_pooling import TiedPooling
from .token_pooling import TokenPooling
from .wildcat_pooling import WildcatPooling

__all__ = [
    'ClassScores',
    'EntropyPooling',
    'FrequencyPooling',
    'GlobalMaxPooling',
    'LSEPooling',
    'PCAMPooling',
    'ScorePooling',
    'SecondOrderPooling',
    'TiedPooling',
    'TokenPooling',
    'WildcatPooling',
]
