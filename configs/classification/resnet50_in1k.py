# mmpretrain's own ResNet-50 recipe with our classifier: the control of the entropy configs. Same training, plus maps.
_base_ = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'
model = dict(type='mmentropy.LocalizationClassifier', head=dict(type='mmentropy.CAMHead'))
