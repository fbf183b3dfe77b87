# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From seeds to segmentation: on PASCAL VOC 2012, COCO, and anybody's images with labels."""

from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
from mmentropy._moved import keep_old_names
from mmentropy.datasets.sources import CocoInstances, ImageSource, LabelledImages, MaskFolders, VOCFolder

from .attention_refine import AttentionRefine
from .coco_export import ExportCoco
from .files import ImageMaps
from .foreign_maps import read_foreign, read_irn, read_psa, read_sec
from .map_stages import ClassifierMaps, ClassMaps, ExplainerMaps, ForeignMaps, multi_scale_maps
from .pipeline import SeedPipeline
from .predict import Test
from .proposal_vote import ProposalVote
from .pseudo_masks import PseudoMasks
from .refine import CrfRefine, GrowRefine, PixelAdaptiveRefine, RandomWalkRefine
from .refiner_sweep import RefinerSweep
from .seed import Seed
from .stage import Context, PerImageStage, Stage
from .training import Classify, Segment, TrainAffinity

keep_old_names(
    'mmentropy.segmentation',
    {
        'maps': 'mmentropy.segmentation.map_stages',
        'voc_folder': 'mmentropy.datasets.sources.voc_folder',
    },
)

__all__ = [
    'AttentionRefine',
    'ClassMaps',
    'ClassifierMaps',
    'Classify',
    'CocoInstances',
    'Context',
    'CrfRefine',
    'ExplainerMaps',
    'ExportCoco',
    'ForeignMaps',
    'GrowRefine',
    'ImageMaps',
    'ImageSource',
    'LabelledImages',
    'MaskFolders',
    'PerImageStage',
    'PixelAdaptiveRefine',
    'ProposalVote',
    'PseudoMasks',
    'RandomWalkRefine',
    'RefinerSweep',
    'Seed',
    'SeedPipeline',
    'Segment',
    'Stage',
    'Test',
    'TrainAffinity',
    'VOCFolder',
    'multi_scale_maps',
    'read_foreign',
    'read_irn',
    'read_psa',
    'read_sec',
]
