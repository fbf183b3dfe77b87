# Entropy pooling on binary entropy, and the entropy-regularised multi-label loss.
_base_ = './resnet18_partshapes_cls.py'
model = dict(
    neck=dict(_delete_=True, type='mmentropy.EntropyPooling', score='sigmoid'),
    head=dict(loss=dict(_delete_=True, type='mmentropy.EntropyRegularizedLoss', lambda_=0.05, multi_label=True)),
)
