# SegFormer-B0 as the last model.
_base_ = './resnet50_voc12_ent.py'
stages = _base_.stages
stages[9]['config'] = 'segformer_b0_voc12.py'
