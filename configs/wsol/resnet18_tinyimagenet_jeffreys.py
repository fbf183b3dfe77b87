# Jeffreys' penalty, CE + λ (KL(u‖p) + KL(p‖u)).
_base_ = './resnet18_tinyimagenet.py'
model = dict(head=dict(loss=dict(type='mmentropy.JeffreysPenaltyLoss', lambda_=0.3)))
