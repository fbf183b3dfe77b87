# Min-max entropy as first published (2019): cross-entropy to the uniform distribution on the rest with weight 1, no area
# constraint, and a mask that the classifier's losses do not train.
_base_ = './resnet50_minmax.py'
model = dict(negative='ce_uniform', negative_weight=1.0, area_constraint=False, detach_mask=True)
