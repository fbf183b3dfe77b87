# AffinityNet on the maps of entropy pooling alone.
_base_ = './resnet50_voc12_ent_seg.py'
stages = dict(classify=dict(config='resnet50_voc12_cls_efw.py'))
