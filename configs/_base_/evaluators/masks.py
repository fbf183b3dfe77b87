# How the min-max experiments are judged; a config says which it takes: `val_evaluator = _base_.mask_evaluator`.
top1 = [dict(type='Accuracy', topk=(1,))]
pixels = [dict(type='mmentropy.PixelLocalizationMetric'), dict(type='mmentropy.EntropyMetric')]
drawn = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmentropy.PartCoverageMetric'),
    dict(type='mmentropy.PixelLocalizationMetric'),
    dict(type='mmentropy.BoxLocalizationMetric'),
]
# A mask is a probability and is cut at one half as it is; a class map is none and is normalised first.
mask_dice = [dict(type='mmentropy.DiceMetric', prefix='dice')]
map_dice = [dict(type='mmentropy.DiceMetric', normalize=True, prefix='dice')]
mask_evaluator = [*top1, *mask_dice, *pixels]
map_evaluator = [*top1, *map_dice, *pixels]
drawn_mask_evaluator = [*drawn, *mask_dice]
drawn_map_evaluator = [*drawn, *map_dice]
