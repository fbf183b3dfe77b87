# mmpretrain's own recipe of MobileNetV2 with our classifier: the control of the entropy config.
_base_ = 'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py'
model = dict(type='mmentropy.LocalizationClassifier', head=dict(type='mmentropy.CAMHead'))
