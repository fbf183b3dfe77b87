# Network in Network on ILSVRC 2012, from scratch: the CAM paper's network without a change.
_base_ = [
    '../_base_/models/nin.py',
    '../_base_/datasets/ilsvrc.py',
    '../_base_/schedules/scratch_30e.py',
    '../_base_/evaluators/cam2016.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=0.01))
train_cfg = dict(max_epochs=90)
val_evaluator = _base_.cam2016_evaluator
test_evaluator = val_evaluator
