# PreResNet-18 with the whole entropy system: sharp entropy pooling with three quarters of the loss on plain pooling,
# the entropy-regularised loss, and maps read by certainty and spread over what looks alike: the recipe of
# docs/results.md, whose measurements have no birds.
_base_ = './preresnet18_cub.py'
model = dict(
    neck=dict(type='mmentropy.EntropyPooling', temperature=0.25),
    head=dict(auxiliary_gap=0.75, loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=0.3)),
    reading='certain+spread',
)
