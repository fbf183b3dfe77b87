# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""How certain a model is: mean entropy of its predictions, and of its locations."""

from __future__ import annotations

import numpy as np
from scipy.special import entr

from mmentropy.registry import METRICS
from mmentropy.structures import ENTROPY, ENTROPY_MAP, PRED_SCORE

from .counting import UNIT, CountingMetric, Counts, fixed
from .samples import Case


@METRICS.register_module()
class EntropyMetric(CountingMetric):
    r"""Mean entropies in nats.

    ``entropy`` is the mean over the images of the prediction's entropy (field ``entropy``; without it
    :math:`-\sum_c p_c \log p_c` of ``pred_score``, which must be a softmax's); ``location_entropy`` the mean over the
    images of the mean of ``entropy_map``, left out where the predictions have none.

    >>> metric = EntropyMetric()
    >>> metric.process(None, [{'pred_score': [0.5, 0.5], 'entropy_map': [[0.0, 0.5]]}])
    >>> {name: round(value, 4) for name, value in metric.evaluate(size=1).items()}
    {'wsol/entropy': 0.6931, 'wsol/location_entropy': 0.25}
    """

    def count_case(self, case: Case) -> Counts:
        """Sums of entropies, in fixed point."""
        if case.has(ENTROPY):
            entropy = float(case.array(ENTROPY))
        else:
            entropy = float(entr(case.array(PRED_SCORE).astype(np.float64)).sum())
        counts = {'images': np.array(1), 'entropy': fixed(entropy)}
        if case.has(ENTROPY_MAP):
            mean = case.array(ENTROPY_MAP).astype(np.float64).mean()
            counts |= {'maps': np.array(1), 'location_entropy': fixed(mean)}
        return counts

    def figures(self, totals: Counts) -> dict[str, float]:
        """Means in nats."""
        results = {'entropy': float(totals['entropy'] / UNIT / totals['images'])}
        if 'maps' in totals:
            results['location_entropy'] = float(totals['location_entropy'] / UNIT / totals['maps'])
        return results
