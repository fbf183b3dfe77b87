# Adversarial complementary learning: a second classifier on features erased above 0.7; maps fused by maximum.
_base_ = './resnet50_cub.py'
model = dict(erasing=[dict(type='mmentropy.ACoL', threshold=0.7)])
