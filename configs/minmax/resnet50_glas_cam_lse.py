# Control: log-sum-exp pooling.
_base_ = './resnet50_glas_cam_avg.py'
model = dict(neck=dict(type='mmentropy.LSEPooling'))
