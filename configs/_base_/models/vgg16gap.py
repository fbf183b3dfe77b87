# VGG-16 as the CAM paper has it: no fully connected layers, a 3×3-1024 block, global average pooling. 14×14 maps.
model = dict(
    type='mmentropy.LocalizationClassifier',
    backbone=dict(type='mmentropy.VGGGAP', depth=16, init_cfg=dict(type='Pretrained', checkpoint='torchvision://vgg16')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='mmentropy.CAMHead', loss=dict(type='CrossEntropyLoss', loss_weight=1.0)),
)
