# From image labels to a tested segmenter on drawn scenes: python tools/seg_pipeline.py configs/voc/resnet18_partshapes_ent.py
# 'partshapes' has the scenes drawn first, in the layout of VOC 2012, under the work dir.
data = dict(
    split='train',
    num_classes=5,
    partshapes=dict(train=800, val=100, num_classes=5, image_size=96, num_objects=[1, 3], seed=0),
)
stages = [
    dict(type='Classify', name='classify', config='resnet18_partshapes_cls_ent.py'),
    dict(type='ClassMaps', name='maps', scales=[1.0, 1.5, 2.0], stride=2),
    dict(type='Seed', name='seed', background='entropy', power=1.0, scale=0.2),
    dict(type='CrfRefine', name='crf', confidence=0.7, gaussian=[2, 3], bilateral=[10, 10, 4]),
    dict(type='PseudoMasks', name='masks'),
    # The classifier's backbone stands for what ImageNet is to the segmenters of VOC.
    dict(type='Segment', name='segment', config='fcn_r18_partshapes.py', init_from='classify'),
    dict(type='Test', name='test', split='val', scales=[1.0], flip=True),
]
