# ILSVRC's errors as the CAM paper reports them (20 % of the maximum, largest component), beside the WSOL protocol's boxes.
cam2016_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.ImageNetErrorMetric'),
    dict(type='mmentropy.BoxLocalizationMetric'),
    dict(type='mmentropy.EntropyMetric'),
]
