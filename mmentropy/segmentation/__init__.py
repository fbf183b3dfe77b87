# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From seeds to segmentation on data sets in the layout of PASCAL VOC 2012."""

from mmentropy import _needs_hosts  # noqa: F401  says what to install, before an import fails
from mmentropy._moved import keep_old_names

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
from .voc_folder import VOCFolder

keep_old_names(
    'mmentropy.segmentation',
    {
        'maps': 'mmentropy.segmentation.map_stages',
    },
)

__all__ = [
    'AttentionRefine',
    'ClassMaps',
    'ClassifierMaps',
    'Classify',
    'Context',
    'CrfRefine',
    'ExplainerMaps',
    'ExportCoco',
    'ForeignMaps',
    'GrowRefine',
    'ImageMaps',
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
