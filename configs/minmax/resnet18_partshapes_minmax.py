# Min-max entropy on the drawn images: a narrow ResNet-18, the demo's schedule.
_base_ = [
    '../_base_/models/resnet18_small_minmax.py',
    '../_base_/datasets/partshapes.py',
    '../_base_/schedules/minmax_scratch_30e.py',
    '../_base_/evaluators/masks.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(base_channels=16, stem_channels=16))
train_cfg = dict(max_epochs=8, val_interval=8)
val_evaluator = _base_.drawn_mask_evaluator
test_evaluator = val_evaluator
