# The whole entropy system as it is fine-tuned: entropy pooling, the entropy-regularised loss, and maps read by
# certainty. From scratch, where a small part tells the class, a share of the loss on plain pooling pays as well
# (preresnet18_cub_ent.py); see "The recipe" in docs/results.md.
_base_ = './resnet50_cub_er.py'
model = dict(neck=dict(type='mmentropy.EntropyPooling'), reading='certain+spread')
