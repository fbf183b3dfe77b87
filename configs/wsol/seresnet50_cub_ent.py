# SE-ResNet-50 with entropy pooling and the entropy-regularised loss.
_base_ = './seresnet50_cub.py'
model = dict(
    neck=dict(type='mmentropy.EntropyPooling'),
    head=dict(loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=1e-4, class_reduction='sum')),
)
