# Self-produced guidance of the second and third stage and of the last map.
_base_ = './resnet50_cub.py'
model = dict(erasing=[dict(type='mmentropy.SPG', layers=('layer2', 'layer3'))])
