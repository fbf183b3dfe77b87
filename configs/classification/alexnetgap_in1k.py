# The CAM paper's AlexNet on ILSVRC 2012: a short fine-tuning from the published weights.
_base_ = [
    '../_base_/models/alexnetgap.py',
    '../_base_/datasets/ilsvrc.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
train_cfg = dict(max_epochs=10)
param_scheduler = dict(step_size=3)
