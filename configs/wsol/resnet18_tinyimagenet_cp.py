# Confidence penalty, CE − λ H(p).
_base_ = './resnet18_tinyimagenet.py'
model = dict(head=dict(loss=dict(type='mmentropy.ConfidencePenaltyLoss', lambda_=0.3)))
