# Region-based dropout: a square of fixed size over the most discriminative spot.
_base_ = ['./preresnet18_cub.py', '../_base_/methods/er2023.py']
model = dict(erasing=_base_.rdap)
