# Entropy pooling, localised by its weights themselves: class-agnostic boxes beside those of the class maps.
_base_ = './resnet50_ilsvrc.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.BoxLocalizationMetric'),
    dict(type='mmentropy.BoxLocalizationMetric', localizer='weight', prefix='weight'),
    dict(type='mmentropy.EntropyMetric'),
]
test_evaluator = val_evaluator
