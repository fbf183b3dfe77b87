# ResNet-50 as in resnet50_cam.py under the journal's min-max model. Its batch norms keep the pretrained statistics: the
# backbone sees whole, masked and erased images, whose statistics have nothing to do with each other.
_base_ = './minmax_journal.py'
model = dict(
    backbone=dict(
        type='ResNet',
        depth=50,
        strides=(1, 2, 2, 1),
        style='pytorch',
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth',
            prefix='backbone',
        ),
    ),
)
# What a config of another depth puts in place of these.
depths = dict(
    resnet18=dict(
        depth=18,
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/resnet18_8xb32_in1k_20210831-fbbb1da6.pth'),
    ),
    resnet101=dict(
        depth=101,
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/resnet101_8xb32_in1k_20210831-539c63f8.pth'),
    ),
)
