# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
from .regularized import ConfidencePenaltyLoss, EntropyRegularizedLoss, JeffreysPenaltyLoss

__all__ = ['ConfidencePenaltyLoss', 'EntropyRegularizedLoss', 'JeffreysPenaltyLoss']
