# Control: the whole image is foreground (any map is at least 0 everywhere once normalised).
_base_ = './resnet50_glas_cam_avg.py'
val_evaluator = [
    *_base_.top1,
    dict(type='mmentropy.DiceMetric', normalize=True, threshold=0.0, prefix='dice'),
    *_base_.pixels,
]
test_evaluator = val_evaluator
