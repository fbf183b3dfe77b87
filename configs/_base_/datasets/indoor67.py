# MIT Indoor 67.
_base_ = './image_folders.py'
num_classes = 67
data = dict(preset='indoor67', data_root='data/indoor67')

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = dict(dataset=data)
