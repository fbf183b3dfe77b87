# mmpretrain's own recipe of ResNet-18 with our classifier: the control of the entropy config.
_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
model = dict(type='mmentropy.LocalizationClassifier', head=dict(type='mmentropy.CAMHead'))
