# The entropy itself (EEM) instead of its surrogate.
_base_ = './resnet50_cub_minmax.py'
model = dict(rest=dict(loss='eem'))
