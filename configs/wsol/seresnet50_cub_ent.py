# SE-ResNet-50 with the whole entropy system as it is fine-tuned, see resnet50_cub_ent.py.
_base_ = './seresnet50_cub.py'
model = dict(
    neck=dict(type='mmentropy.EntropyPooling'),
    head=dict(loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=1e-4, class_reduction='sum')),
    reading='certain+spread',
)
