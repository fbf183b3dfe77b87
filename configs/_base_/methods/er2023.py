# What the entropy-regularisation paper compares, by name; a config says `head=dict(loss=_base_.er)`.
# λ = 1e-4 as published, with either reading of its sum over the classes: see docs/methods/entropy_regularization.md.
er = dict(type='mmentropy.EntropyRegularizedLoss', lambda_=1e-4, class_reduction='sum')
er_mean = dict(type='mmentropy.EntropyRegularizedLoss', lambda_=1e-4, class_reduction='mean')
cp = dict(type='mmentropy.ConfidencePenaltyLoss', lambda_=0.1)
ls = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
ls_multi_label = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='multi_label')
# Ours is the mean over VOC's 20 classes and the host's is their sum; the weight gives both the same step.
multi_label = dict(multi_label=True, loss_weight=20.0)
# On each stage, as the paper has it.
adl = [
    dict(
        type='mmentropy.ADL', layers=('layer1', 'layer2', 'layer3', 'layer4'), drop_rate=0.75, drop_threshold=0.9)
]
rdap = [dict(type='mmentropy.RDAP', layers=('layer3', 'layer4'), drop_rate=0.75, size=0.25)]
has = dict(type='mmentropy.HideAndSeek', grid=4, prob=0.5)
cutmix = dict(augments=dict(type='CutMix', alpha=1.0), probs=0.5)
