# Attention-based dropout on the last two stages of a ConvNeXt.
_base_ = './convnext-tiny_cub.py'
model = dict(erasing=[dict(type='mmentropy.ADL', layers=('stages.2', 'stages.3'), drop_rate=0.75, drop_threshold=0.9)])
