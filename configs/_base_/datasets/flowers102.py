# Oxford 102 flowers: masks, pixel metric.
_base_ = './wsol_protocol.py'
num_classes = 102
dataset_type = 'mmentropy.OxfordFlowers102'
data_root = 'data/flowers102'

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, split='val', pipeline={{_base_.test_pipeline}}))
test_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline={{_base_.test_pipeline}}))

val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.PixelLocalizationMetric'),
    dict(type='mmentropy.EntropyMetric'),
]
test_evaluator = val_evaluator
