# An unmodified EncoderDecoder on COCO pseudo-masks, 40 000 iterations; the pipeline gives it images, masks and classes.
_base_ = './deeplabv3plus_r50_voc12.py'
model = dict(decode_head=dict(num_classes=81), auxiliary_head=dict(num_classes=81))
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=40000, by_epoch=False)]
train_cfg = dict(max_iters=40000, val_interval=40000)
