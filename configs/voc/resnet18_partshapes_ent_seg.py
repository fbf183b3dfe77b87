# From image labels to a tested segmenter on drawn scenes, minutes on a CPU.
# 'partshapes' has the scenes drawn first, in the layout of VOC 2012, under the work dir.
data = dict(
    split='train',
    num_classes=5,
    partshapes=dict(train=800, val=100, select=160, num_classes=5, image_size=96, num_objects=[1, 3], seed=0),
)
stages = dict(
    classify=dict(type='Classify', config='resnet18_partshapes_cls_ent.py'),
    maps=dict(type='ClassMaps', scales=[1.0, 1.5, 2.0], stride=2),
    # Chosen on the list 'select' (--sweep), for the entropy run and its control together; see docs/results.md.
    seed=dict(type='Seed', background='power', alpha=12.0),
    crf=dict(type='CrfRefine', confidence=0.7, gaussian=[2, 3], bilateral=[10, 10, 4]),
    masks=dict(type='PseudoMasks'),
    # The classifier's backbone stands for what ImageNet is to the segmenters of VOC.
    segment=dict(type='Segment', config='fcn_r18_partshapes.py', init_from='classify'),
    test=dict(type='Test', split='val', scales=[1.0], flip=True),
)
