# Entropy pooling alone on PASCAL VOC 2012, multi-label: binary entropy, the host's loss; nothing else differs from
# configs/classification/resnet50_voc12_cls.py.
_base_ = '../classification/resnet50_voc12_cls.py'
model = dict(neck=dict(_delete_=True, type='mmentropy.EntropyPooling', entropy=dict(score='sigmoid')))
