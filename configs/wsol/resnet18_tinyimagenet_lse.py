# Log-sum-exp pooling of each class's location scores, r = 5.
_base_ = './resnet18_tinyimagenet.py'
model = dict(neck=dict(type='mmentropy.LSEPooling', r=5.0))
