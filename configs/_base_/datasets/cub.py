# CUB-200-2011; validation on CUBV2. Thresholds and checkpoints are chosen there, never on the test split.
_base_ = './wsol_protocol.py'
num_classes = 200
dataset_type = 'mmentropy.CUBLocalization'
data_root = 'data/cub'

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, split='val', pipeline={{_base_.test_pipeline}}))
test_dataloader = dict(
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline={{_base_.test_pipeline}}))
