# The entropy background in place of the constant one.
_base_ = './resnet50_voc12_ent_seg.py'
stages = dict(seed=dict(_delete_=True, type='Seed', background='entropy', power=1.0, scale=0.3))
