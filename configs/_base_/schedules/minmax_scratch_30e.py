# As scratch_30e.py, with min-max's schedules (t of the barrier from 5 to 10, x1.01 an epoch).
_base_ = './scratch_30e.py'
custom_hooks = [dict(type='mmentropy.MinMaxScheduleHook')]
