# minmax_finetune_50e.py for 80 epochs: t of the barrier, x1.01 an epoch from 5, reaches its end, 10, in the 70th.
_base_ = './minmax_finetune_50e.py'
param_scheduler = dict(step_size=25)
train_cfg = dict(max_epochs=80)
