# UIUC Event 8, 70 images a class drawn.
_base_ = './image_folders.py'
num_classes = 8
data = dict(preset='event8', data_root='data/event8')

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = dict(dataset=data)
