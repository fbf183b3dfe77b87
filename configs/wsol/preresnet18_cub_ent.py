# PreResNet-18 with entropy pooling and the entropy-regularised loss.
_base_ = './preresnet18_cub.py'
model = dict(
    neck=dict(type='mmentropy.EntropyPooling'),
    head=dict(loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=1e-4, class_reduction='sum')),
)
