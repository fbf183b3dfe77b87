# Both: from the first pass's own mask, with gradients through the erased images.
_base_ = './resnet18_partshapes_minmax_mask.py'
model = dict(erasing=dict(through_images=True))
