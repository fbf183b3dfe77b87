# Control: plain CAM, its map of the label's class normalised and cut at one half.
_base_ = '../wsol/resnet50_glas.py'
val_evaluator = [
    dict(type='Accuracy', topk=(1,)),
    dict(type='mmentropy.DiceMetric', normalize=True, prefix='dice'),
    dict(type='mmentropy.PixelLocalizationMetric'),
    dict(type='mmentropy.EntropyMetric'),
]
test_evaluator = val_evaluator
