# λ alone, summed over the classes: λ = 1e-4 keeps the entropy from falling.
_base_ = ['./seresnet50_voc12_cls.py', '../_base_/methods/er2023.py']
model = dict(head=dict(loss=dict(_delete_=True, **_base_.er, **_base_.multi_label)))
