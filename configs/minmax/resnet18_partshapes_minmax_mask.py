# Recursive erasing from the first pass's own mask, at its full height: what the test sees, too.
_base_ = './resnet18_partshapes_minmax.py'
model = dict(erasing=dict(initial='mask'))
