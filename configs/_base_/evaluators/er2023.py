# Boxes by the WSOL protocol, and as the entropy-regularisation paper draws them: fixed threshold 0.15, largest contour.
er2023_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.BoxLocalizationMetric'),
    dict(type='mmentropy.BoxLocalizationMetric', protocol='er2023'),
    dict(type='mmentropy.EntropyMetric'),
]
