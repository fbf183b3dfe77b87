# The CAM paper's AlexNet*: two more convolutions before the block make up for the fully connected layers.
_base_ = './alexnetgap_in1k.py'
model = dict(backbone=dict(extra_convs=2))
