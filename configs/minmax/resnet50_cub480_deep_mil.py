# Control: deep multiple-instance learning, its attention as the map.
_base_ = './resnet50_cub480_cam_avg.py'
model = dict(neck=None, head=dict(type='mmentropy.DeepMILHead'))
