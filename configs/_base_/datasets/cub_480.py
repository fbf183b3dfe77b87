# CUB-200-2011 as min-max entropy takes it: 480×480 crops, the shorter images reflected at their borders; whole images, one a
# batch, for validation and test. Segmentations judge the test images; CUBV2, which chooses, has none.
_base_ = './cub.py'
# As stored: boxes and masks do not follow a camera's EXIF orientation.
load_image = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
train_pipeline = [
    load_image,
    dict(type='RandomCrop', crop_size=480, pad_if_needed=True, padding_mode='reflect'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='mmentropy.PackLocalizationInputs'),
]
test_pipeline = [
    load_image,
    dict(type='mmentropy.LoadLocalizationMasks'),
    dict(type='mmentropy.PackLocalizationInputs'),
]

train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(batch_size=1, dataset=dict(with_masks=True, pipeline=test_pipeline))
