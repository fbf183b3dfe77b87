# SUN397, the first of its ten partitions.
_base_ = './image_folders.py'
num_classes = 397
data = dict(preset='sun397', data_root='data/sun397')

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = dict(dataset=data)
