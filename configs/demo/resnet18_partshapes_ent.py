# The demo's entropy model.
_base_ = './resnet18_partshapes.py'
model = dict(
    neck=dict(type='mmentropy.EntropyPooling'),
    head=dict(loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=0.3)),
)
