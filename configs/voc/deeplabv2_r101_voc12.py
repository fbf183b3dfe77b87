# An unmodified EncoderDecoder on VOC pseudo-masks; the pipeline points the training data at its own.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/voc12_seg.py',
    '../_base_/schedules/poly_20k.py',
    '../_base_/mmseg_runtime.py',
]
model = dict(data_preprocessor=_base_.data_preprocessor)
