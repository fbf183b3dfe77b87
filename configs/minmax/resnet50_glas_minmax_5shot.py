# Five images of each class, the same in every epoch; epochs are as long as with all. few_samples.py sweeps the number.
_base_ = './resnet50_glas_minmax.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='mmentropy.FewSamplesSampler', per_class=5))
