# The whole entropy system on photographs: entropy pooling, the entropy-regularised loss, and maps read by certainty and
# spread over what looks alike. On drawn objects a share of the loss on plain pooling pays as well
# (configs/demo/resnet18_partshapes_ent.py); see "The recipe" in docs/results.md.
_base_ = './resnet18_tinyimagenet_er.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'), reading='certain+spread')
