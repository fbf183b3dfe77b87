# The demo's entropy model: sharp entropy pooling with three quarters of the loss on plain pooling, the
# entropy-regularised loss, and maps read by certainty and spread over what looks alike: the recipe of docs/results.md.
_base_ = './resnet18_partshapes.py'
model = dict(
    neck=dict(type='mmentropy.EntropyPooling', temperature=0.25),
    head=dict(auxiliary_gap=0.75, loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=0.3)),
    reading='certain+spread',
)
