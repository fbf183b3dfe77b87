# mmpretrain's own recipe of SE-ResNet-50 with our classifier: the control of the entropy config.
_base_ = 'mmpretrain::seresnet/seresnet50_8xb32_in1k.py'
model = dict(type='mmentropy.LocalizationClassifier', head=dict(type='mmentropy.CAMHead'))
