# Three regions: object, background and unsure share every location, and the classifier reads the object.
_base_ = './mae-base_openimages30k.py'
model = dict(neck=None, head=dict(type='mmentropy.TriRegionHead'))
