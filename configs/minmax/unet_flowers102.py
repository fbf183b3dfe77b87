# The ceiling on Oxford 102 flowers: mmsegmentation's U-Net with full supervision, judged by the rule of the weak masks.
_base_ = './unet_glas.py'
data = dict(type='mmentropy.OxfordFlowers102', data_root='data/flowers102')
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = dict(dataset=data)
data_preprocessor = dict(num_classes=2)
