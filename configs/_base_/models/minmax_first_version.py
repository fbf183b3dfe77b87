# Min-max entropy localisation as first published (2019): cross-entropy to the uniform distribution on the rest with
# weight 1, no area constraint, and a mask that C's losses do not train.
_base_ = './minmax_journal.py'
model = dict(negative='ce_uniform', negative_weight=1.0, area_constraint=False, detach_mask=True)
