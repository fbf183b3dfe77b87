# Label smoothing of 0.1 (the host’s loss).
_base_ = ['./preresnet18_flowers102.py', '../_base_/methods/er2023.py']
model = dict(head=dict(loss=_base_.ls))
