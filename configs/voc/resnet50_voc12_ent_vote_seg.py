# Other networks refine the seeds: scores walk along DINOv2's attention, then SAM's masks vote (<id>.json or <id>.png of
# your own run of it, see docs/segmentation.md); the CRF last. No affinity is trained.
_base_ = './resnet50_voc12_ent_seg.py'
stages = dict(
    _delete_=True,
    classify=_base_.stages.classify,
    maps=_base_.stages.maps,
    seed=_base_.stages.seed,
    attention=dict(type='AttentionRefine', config='../frozen/dinov2-small_voc12.py'),
    vote=dict(type='ProposalVote', masks='data/VOCdevkit/VOC2012/proposals'),
    crf=_base_.stages.crf,
    masks=_base_.stages.masks,
    segment=_base_.stages.segment,
    test=_base_.stages.test,
)
