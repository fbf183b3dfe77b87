# Min-max entropy with the first version's loss on Oxford 102 flowers.
_base_ = './resnet50_flowers102_minmax.py'
model = dict(rest=dict(loss='ce_uniform', weight=1.0), barrier=None, mask=dict(detach=True))
