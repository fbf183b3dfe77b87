# The DSRG route: 321-pixel crops, seeds on the 41×41 grid of the decode head, grown while training.
_base_ = './deeplabv2_r101_voc12.py'
crop_size = (321, 321)
data_preprocessor = dict(size=crop_size)
model = dict(type='mmentropy.DSRGSegmentor', data_preprocessor=dict(size=crop_size))
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
            dict(type='LoadAnnotations'),
            dict(type='RandomResize', scale=(2048, 400), ratio_range=(0.8, 1.3), keep_ratio=True),
            dict(type='RandomCrop', crop_size=crop_size),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ]),
)
