# SegFormer-B0 as the last model.
_base_ = './resnet50_voc12_ent_seg.py'
stages = dict(segment=dict(config='segformer_b0_voc12.py'))
