# Label smoothing of 0.1 (the host's loss).
_base_ = './resnet50_cub.py'
model = dict(head=dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))
