# Entropy-regularised loss: λ = 0.3 on the mean over the classes.
_base_ = './resnet18_tinyimagenet.py'
model = dict(head=dict(loss=dict(type='mmentropy.EntropyRegularizedLoss', lambda_=0.3)))
