# Min-max entropy as first published (2019): cross-entropy to the uniform distribution on the rest with weight 1, no area
# constraint, and as in the first release a mask that the classifier's losses do not train.
_base_ = './resnet50_minmax.py'
model = dict(rest=dict(loss='ce_uniform', weight=1.0), barrier=None, mask=dict(detach=True))
