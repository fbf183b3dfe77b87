# Hide-and-Seek: cells of a 4×4 grid hidden with probability 0.5, filled with the training mean.
_base_ = './resnet50_cub.py'
train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(type='mmentropy.HideAndSeek', mean=_base_.data_preprocessor.mean, grid=4, prob=0.5),
    _base_.train_pipeline[-1],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
