# Label smoothing of 0.1 (the host’s loss).
_base_ = ['./seresnet50_openimages30k.py', '../_base_/methods/er2023.py']
model = dict(head=dict(loss=_base_.ls))
