# Image folders, split as published: labels alone. A set that builds on this says its preset, root and number of classes.
_base_ = './wsol_protocol.py'
dataset_type = 'mmentropy.ImageFolders'

train_dataloader = dict(dataset=dict(type=dataset_type, split='train', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(dataset=dict(type=dataset_type, split='test', pipeline={{_base_.test_pipeline}}))
test_dataloader = dict(dataset=dict(type=dataset_type, split='test', pipeline={{_base_.test_pipeline}}))

val_evaluator = [dict(type='Accuracy', topk=(1, 5)), dict(type='mmentropy.EntropyMetric')]
test_evaluator = val_evaluator
