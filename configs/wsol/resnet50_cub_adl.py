# Attention-based dropout on the last two stages: drop rate 0.75, threshold 0.9.
_base_ = './resnet50_cub.py'
model = dict(erasing=[dict(type='mmentropy.ADL', layers=('layer3', 'layer4'), drop_rate=0.75, drop_threshold=0.9)])
