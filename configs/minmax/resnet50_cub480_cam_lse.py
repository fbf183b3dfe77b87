# Control: log-sum-exp pooling.
_base_ = './resnet50_cub480_cam_avg.py'
model = dict(neck=dict(type='mmentropy.LSEPooling'))
