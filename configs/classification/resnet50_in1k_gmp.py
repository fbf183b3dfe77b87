# Global max pooling of the features instead of GAP.
_base_ = './resnet50_in1k.py'
model = dict(neck=dict(type='mmentropy.GlobalMaxPooling'))
