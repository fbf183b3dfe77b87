# The CAM paper's VGG-16 on ILSVRC 2012: a short fine-tuning from the published weights.
_base_ = [
    '../_base_/models/vgg16gap.py',
    '../_base_/datasets/ilsvrc.py',
    '../_base_/schedules/finetune_10e.py',
    '../_base_/evaluators/cam2016.py',
    '../_base_/default_runtime.py',
]
val_evaluator = _base_.cam2016_evaluator
test_evaluator = val_evaluator
