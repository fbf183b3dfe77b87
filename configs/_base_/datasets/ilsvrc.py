# ILSVRC 2012; validation on ImageNetV2, test on ILSVRC's validation images.
_base_ = './wsol_protocol.py'
num_classes = 1000
dataset_type = 'mmentropy.ImageNetLocalization'
data_root = 'data/ilsvrc'

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(
    batch_size=64,
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, split='val', pipeline={{_base_.test_pipeline}}))
test_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline={{_base_.test_pipeline}}))

# Beside the protocol's figures, the top-5 localisation error with the CAM paper's tight and loose boxes.
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.BoxLocalizationMetric', box_strategy='tight_loose'),
    dict(type='mmentropy.EntropyMetric'),
]
test_evaluator = val_evaluator
