# The entropy itself (EEM) instead of its surrogate.
_base_ = './resnet50_flowers102_minmax.py'
model = dict(rest=dict(loss='eem'))
