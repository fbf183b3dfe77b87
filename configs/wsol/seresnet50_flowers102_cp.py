# Confidence penalty, CE − λ H(p).
_base_ = ['./seresnet50_flowers102.py', '../_base_/methods/er2023.py']
model = dict(head=dict(loss=_base_.cp))
