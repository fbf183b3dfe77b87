# The whole entropy system as it is fine-tuned: entropy pooling, the entropy-regularised loss, and maps read by
# certainty and spread over what looks alike; see "The recipe" in docs/results.md.
_base_ = './resnet50_cub_er.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'), reading='certain+spread')
