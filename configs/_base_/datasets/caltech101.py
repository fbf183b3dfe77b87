# Caltech 101, 30 images a class drawn.
_base_ = './image_folders.py'
num_classes = 101
data = dict(preset='caltech101', data_root='data/caltech101')

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = dict(dataset=data)
