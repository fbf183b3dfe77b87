# Entropy pooling on binary entropy with the entropy-regularised multi-label loss; the control is
# configs/classification/resnet50_voc12_cls.py.
_base_ = '../classification/resnet50_voc12_cls.py'
model = dict(
    neck=dict(_delete_=True, type='mmentropy.EntropyPooling', score='sigmoid'),
    head=dict(
        loss=dict(
            _delete_=True, type='mmentropy.EntropyRegularizedLoss', lambda_=1e-4, class_reduction='sum',
            multi_label=True)),
)
