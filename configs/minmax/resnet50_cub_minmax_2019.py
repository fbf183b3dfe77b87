# Min-max entropy with the first version's loss on CUB-200-2011: boxes choose, segmentations judge.
_base_ = './resnet50_cub_minmax.py'
model = dict(rest=dict(loss='ce_uniform', weight=1.0), barrier=None, mask=dict(detach=True))
