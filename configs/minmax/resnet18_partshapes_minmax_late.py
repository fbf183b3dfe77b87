# Recursive erasing to the formula's letter, from the seventh epoch on: once the localizer is often right.
_base_ = './resnet18_partshapes_minmax.py'
model = dict(erasing=dict(start_epoch=6))
