# Control: WILDCAT alone, the localizer without its game.
_base_ = './resnet18_partshapes_cam_avg.py'
model = dict(neck=None, head=dict(type='mmentropy.WildcatHead', maps_per_class=5, kmax=0.09))
