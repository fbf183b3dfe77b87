# The entropy background in place of the constant one.
_base_ = './resnet50_voc12_ent.py'
stages = _base_.stages
stages[2] = dict(type='Seed', name='seed', background='entropy', power=1.0, scale=0.3)
