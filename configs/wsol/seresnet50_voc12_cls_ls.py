# Label smoothing of 0.1 (the host’s loss).
_base_ = ['./seresnet50_voc12_cls.py', '../_base_/methods/er2023.py']
model = dict(head=dict(loss=dict(_delete_=True, **_base_.ls_multi_label)))
