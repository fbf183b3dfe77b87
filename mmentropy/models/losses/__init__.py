# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .balanced_seed import BalancedSeedLoss
from .boundary_constraint import BoundaryConstraintLoss
from .regularized import ConfidencePenaltyLoss, EntropyRegularizedLoss, JeffreysPenaltyLoss

__all__ = [
    'BalancedSeedLoss',
    'BoundaryConstraintLoss',
    'ConfidencePenaltyLoss',
    'EntropyRegularizedLoss',
    'JeffreysPenaltyLoss',
]
