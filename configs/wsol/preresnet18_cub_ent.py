# PreResNet-18 with the whole entropy system: entropy pooling, the entropy-regularised loss, and maps read by certainty
# and spread over what looks alike: the recipe of docs/results.md in its form for photographs.
_base_ = './preresnet18_cub.py'
model = dict(
    neck=dict(type='mmentropy.EntropyPooling'),
    head=dict(loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=0.3)),
    reading='certain+spread',
)
