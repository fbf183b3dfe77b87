# Scene 15, 100 images a class drawn.
_base_ = './image_folders.py'
num_classes = 15
data = dict(preset='scene15', data_root='data/scene15')

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = dict(dataset=data)
