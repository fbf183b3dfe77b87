# The whole entropy system: entropy pooling with half of the loss on plain pooling, the entropy-regularised loss,
# and maps read by certainty and spread over what looks alike: the recipe of docs/results.md.
_base_ = './resnet18_tinyimagenet_er.py'
model = dict(
    neck=dict(type='mmentropy.EntropyPooling'), head=dict(auxiliary_gap=0.5), reading='certain+spread')
