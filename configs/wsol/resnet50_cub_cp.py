# Confidence penalty, CE − λ H(p).
_base_ = './resnet50_cub.py'
model = dict(head=dict(loss=dict(type='mmentropy.ConfidencePenaltyLoss', lambda_=0.1)))
