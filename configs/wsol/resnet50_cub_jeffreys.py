# Jeffreys' penalty, CE + λ (KL(u‖p) + KL(p‖u)).
_base_ = './resnet50_cub.py'
model = dict(head=dict(loss=dict(type='mmentropy.JeffreysPenaltyLoss', lambda_=1e-4, class_reduction='sum')))
