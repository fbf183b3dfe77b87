# WILDCAT pooling: a fifth of the highest location scores, and 0.7 times a fifth of the lowest.
_base_ = './resnet18_tinyimagenet.py'
model = dict(neck=dict(type='mmentropy.WildcatPooling', kmax=0.2, kmin=0.2, alpha=0.7))
