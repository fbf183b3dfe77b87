# GoogLeNet-GAP on MIT Indoor 67: fine-tuned, or its data for a linear SVM on generic features.
_base_ = [
    '../_base_/models/googlenetgap.py',
    '../_base_/datasets/indoor67.py',
    '../_base_/schedules/finetune_50e.py',
    '../_base_/default_runtime.py',
]
# torchvision's GoogLeNet wants inputs in -1 ... 1.
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True)
