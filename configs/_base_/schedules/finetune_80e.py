# finetune_50e.py for as long as minmax_finetune_80e.py: the budget of min-max's controls.
_base_ = './finetune_50e.py'
param_scheduler = dict(step_size=25)
train_cfg = dict(max_epochs=80)
