# COCO 2017 as a multi-label set of 80 classes, images and crops as on VOC; for 2014 write 2014 in the two patterns.
_base_ = './voc12_cls.py'
num_classes = 80
dataset_type = 'mmentropy.SourceImages'
data_root = 'data/coco'
source = dict(
    type='CocoInstances', images='{split}2017', annotations='annotations/instances_{split}2017.json')

data_preprocessor = dict(num_classes=num_classes)
# Labels alone: its masks are drawn from the annotations, by the pipeline.
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='Resize', scale=(448, 448)),
    dict(type='mmentropy.PackLocalizationInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True, type=dataset_type, data_root=data_root, source=dict(split='train', **source),
        pipeline=_base_.train_pipeline))
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type=dataset_type, data_root=data_root, source=dict(split='val', **source),
        pipeline=test_pipeline))
val_evaluator = [dict(type='AveragePrecision'), dict(type='MultiLabelMetric', thr=0.5)]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
