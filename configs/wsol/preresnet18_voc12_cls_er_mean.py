# λ alone as the paper’s formula prints it, the mean over the classes: 1e-4 is next to nothing there.
_base_ = ['./preresnet18_voc12_cls.py', '../_base_/methods/er2023.py']
model = dict(head=dict(loss=dict(_delete_=True, **_base_.er_mean, **_base_.multi_label)))
