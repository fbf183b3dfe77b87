# The fine-tuning of the large sets (ILSVRC, OpenImages): 10 epochs, a step every 3.
_base_ = './finetune_50e.py'
param_scheduler = dict(step_size=3)
train_cfg = dict(max_epochs=10)
