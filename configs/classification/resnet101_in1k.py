# mmpretrain's own recipe of ResNet-101 with our classifier: the control of the entropy config.
_base_ = 'mmpretrain::resnet/resnet101_8xb32_in1k.py'
model = dict(type='mmentropy.LocalizationClassifier', head=dict(type='mmentropy.CAMHead'))
