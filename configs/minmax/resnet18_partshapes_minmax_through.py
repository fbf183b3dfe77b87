# Recursive erasing with gradients through the erased images and through the trust in a pass.
_base_ = './resnet18_partshapes_minmax.py'
model = dict(erasing=dict(through_images=True))
