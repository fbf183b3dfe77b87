# The CAM paper's GoogLeNet on ILSVRC 2012: a short fine-tuning from the published weights.
_base_ = [
    '../_base_/models/googlenetgap.py',
    '../_base_/datasets/ilsvrc.py',
    '../_base_/schedules/finetune_10e.py',
    '../_base_/evaluators/cam2016.py',
    '../_base_/default_runtime.py',
]
# torchvision's GoogLeNet wants inputs in -1 ... 1.
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True)
val_evaluator = _base_.cam2016_evaluator
test_evaluator = val_evaluator
