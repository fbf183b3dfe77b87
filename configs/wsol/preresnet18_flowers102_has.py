# Hide-and-Seek: cells of the image’s grid hidden, filled with the training mean.
_base_ = ['./preresnet18_flowers102.py', '../_base_/methods/er2023.py']
train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(mean=_base_.data_preprocessor.mean, **_base_.has),
    _base_.train_pipeline[-1],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
