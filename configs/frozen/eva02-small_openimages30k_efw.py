# Entropy pooling instead of GAP.
_base_ = './eva02-small_openimages30k.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'))
