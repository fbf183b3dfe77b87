# Control: the whole image is foreground (any map is at least 0 everywhere once normalised).
_base_ = './resnet50_cub480_cam_avg.py'
test_evaluator = [
    *_base_.top1,
    dict(type='mmentropy.DiceMetric', normalize=True, threshold=0.0, prefix='dice'),
    *_base_.pixels,
]
