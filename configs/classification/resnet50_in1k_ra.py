# Residual attention on the last map.
_base_ = './resnet50_in1k.py'
model = dict(
    backbone=dict(
        _delete_=True, type='mmentropy.ResidualAttentionBackbone', backbone={{_base_.model.backbone}}))
