# Confidence penalty, CE − λ H(p).
_base_ = ['./seresnet50_voc12_cls.py', '../_base_/methods/er2023.py']
model = dict(head=dict(loss=dict(_delete_=True, **_base_.cp, **_base_.multi_label)))
