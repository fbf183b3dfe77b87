# The ceiling on CUB-200-2011: mmsegmentation's U-Net with full supervision, judged by the rule of the weak masks.
_base_ = './unet_glas.py'
data = dict(type='mmentropy.CUBLocalization', data_root='data/cub', with_masks=True)
train_dataloader = dict(dataset=data)
val_cfg = val_dataloader = val_evaluator = None  # CUBV2 has no segmentations
test_dataloader = dict(dataset=data)
data_preprocessor = dict(num_classes=2)
