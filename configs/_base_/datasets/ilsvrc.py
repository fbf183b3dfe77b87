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
