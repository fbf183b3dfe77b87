# Entropy-regularised loss (λ = 1e-4, summed over the classes; see docs/methods/entropy_regularization.md for what λ means).
_base_ = './resnet50_cub.py'
model = dict(head=dict(loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=1e-4, class_reduction='sum')))
