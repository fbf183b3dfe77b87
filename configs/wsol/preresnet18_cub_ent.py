# PreResNet-18 with the whole entropy system: entropy pooling with half of the loss on plain pooling, the
# entropy-regularised loss, and maps read by certainty and spread over what looks alike: the recipe of docs/results.md.
_base_ = './preresnet18_cub.py'
model = dict(
    neck=dict(type='mmentropy.EntropyPooling'),
    head=dict(auxiliary_gap=0.5, loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=0.3)),
    reading='certain+spread',
)
