# Entropy pooling with half of the loss on average pooling, the entropy-regularised loss,
# and maps read by certainty and spread over what looks alike.
_base_ = './swin-tiny_ilsvrc_efw.py'
loss = dict(_delete_=True, type='mmentropy.EntropyRegularizedLoss', lambda_=0.3)
model = dict(head=dict(loss=loss, auxiliary_gap=0.5), reading='certain+spread')
