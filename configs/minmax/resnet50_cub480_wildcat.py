# Control: WILDCAT alone.
_base_ = './resnet50_cub480_cam_avg.py'
model = dict(neck=None, head=dict(type='mmentropy.WildcatHead', maps_per_class=5, kmax=0.09))
