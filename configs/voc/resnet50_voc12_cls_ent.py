# Entropy pooling on binary entropy with the entropy-regularised multi-label loss; the control is
# configs/classification/resnet50_voc12_cls.py. Our loss is the mean over the 20 classes and the host's is their sum; the
# weight gives both the same step.
_base_ = '../classification/resnet50_voc12_cls.py'
model = dict(
    neck=dict(_delete_=True, type='mmentropy.EntropyPooling', entropy=dict(score='sigmoid')),
    head=dict(
        loss=dict(
            _delete_=True, type='mmentropy.EntropyRegularizedLoss', lambda_=1e-4, class_reduction='sum',
            multi_label=True,
            loss_weight=20.0)),
)
