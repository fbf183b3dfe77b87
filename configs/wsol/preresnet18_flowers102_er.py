# λ alone, summed over the classes: λ = 1e-4 keeps the entropy from falling.
_base_ = ['./preresnet18_flowers102.py', '../_base_/methods/er2023.py']
model = dict(head=dict(loss=_base_.er))
