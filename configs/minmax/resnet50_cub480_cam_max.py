# Control: global max pooling.
_base_ = './resnet50_cub480_cam_avg.py'
model = dict(neck=dict(type='mmentropy.GlobalMaxPooling'))
