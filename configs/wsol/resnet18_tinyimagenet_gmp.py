# Global max pooling of the features instead of GAP.
_base_ = './resnet18_tinyimagenet.py'
model = dict(neck=dict(type='mmentropy.GlobalMaxPooling'))
