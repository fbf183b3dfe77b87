# As finetune_50e.py, both heads ten times as fast as the backbone, with min-max's schedules (t from 5 to 10, x1.01 an
# epoch).
_base_ = './finetune_50e.py'
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(localizer=dict(lr_mult=10.0))))
custom_hooks = [dict(type='mmentropy.MinMaxScheduleHook')]
