# Self-produced guidance of the second and third stage and of the last map.
_base_ = './resnet18_tinyimagenet.py'
model = dict(erasing=[dict(type='mmentropy.SPG', layers=('layer2', 'layer3'))])
