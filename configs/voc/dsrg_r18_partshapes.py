# The DSRG route: seeds in place of masks, grown while training.
_base_ = './fcn_r18_partshapes.py'
model = dict(type='mmentropy.DSRGSegmentor', fg_threshold=0.7, bg_threshold=0.85, gaussian=(1, 3), bilateral=(8, 13, 5))
