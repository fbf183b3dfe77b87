# Entropy pooling on binary entropy, half of the loss on plain pooling, and the entropy-regularised multi-label loss, as in
# resnet50_voc12_cls_ent.py. Our loss is the mean over the 80 classes and the host's is their sum; the weight gives both
# the same step.
_base_ = '../classification/resnet50_coco_cls.py'
loss = dict(
    _delete_=True, type='mmentropy.EntropyRegularizedLoss', lambda_=0.05, multi_label=True, loss_weight=80.0)
model = dict(
    neck=dict(_delete_=True, type='mmentropy.EntropyPooling', entropy=dict(score='sigmoid')),
    head=dict(loss=loss, auxiliary_gap=0.5),
)
