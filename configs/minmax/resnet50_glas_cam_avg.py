# Control: plain CAM, its map of the label's class normalised and cut at one half.
_base_ = ['../wsol/resnet50_glas.py', '../_base_/evaluators/masks.py']
val_evaluator = _base_.map_evaluator
test_evaluator = val_evaluator
