# Entropy pooling instead of GAP.
_base_ = './eva02-small_voc12.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling', entropy=dict(score='sigmoid')))
