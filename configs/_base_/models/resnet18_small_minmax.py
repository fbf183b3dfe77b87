# The journal's min-max model on ResNet-18 for 64-pixel images, from scratch. Group norm: the backbone sees whole, masked
# and erased images, and one set of running statistics would describe none of them.
_base_ = './minmax_journal.py'
model = dict(
    backbone=dict(
        type='ResNet', depth=18, strides=(1, 2, 1, 1), style='pytorch', norm_cfg=dict(type='GN', num_groups=8)))
