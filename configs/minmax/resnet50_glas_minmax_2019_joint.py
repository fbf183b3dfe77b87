# The first version's loss with its gradient into the mask: the classifier teaches the localizer what to keep.
_base_ = './resnet50_glas_minmax_2019.py'
model = dict(mask=dict(detach=False))
