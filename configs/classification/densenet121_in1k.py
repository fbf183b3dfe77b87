# mmpretrain's own recipe of DenseNet-121 with our classifier: the control of the entropy config.
_base_ = 'mmpretrain::densenet/densenet121_4xb256_in1k.py'
model = dict(type='mmentropy.LocalizationClassifier', head=dict(type='mmentropy.CAMHead'))
