# Entropy pooling instead of GAP.
_base_ = './eva02-small_ilsvrc.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
