# Confidence penalty, CE − λ H(p).
_base_ = ['./preresnet18_openimages30k.py', '../_base_/methods/er2023.py']
model = dict(head=dict(loss=_base_.cp))
