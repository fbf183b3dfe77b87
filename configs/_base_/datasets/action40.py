# Stanford Action 40.
_base_ = './image_folders.py'
num_classes = 40
data = dict(preset='action40', data_root='data/action40')

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = dict(dataset=data)
