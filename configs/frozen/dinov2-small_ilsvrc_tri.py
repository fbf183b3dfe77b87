# Three regions: object, background and unsure share every location, and the classifier reads the object.
_base_ = './dinov2-small_ilsvrc.py'
model = dict(neck=None, head=dict(type='mmentropy.TriRegionHead'))
