# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""The maths: plain functions on tensors and arrays, in rooms by what they are for."""

from mmentropy._moved import keep_old_names

keep_old_names(
    'mmentropy.ops',
    {
        old: f'mmentropy.ops.{room}.{new or old}'
        for room, names in {
            'certainty': {
                'barrier': '',
                'entropy': '',
                'pooling': '',
                'regularizer_optimum': '',
                'regularizers': '',
                'wildcat_pooling': 'wildcat',
            },
            'mapping': {
                'cam': 'class_maps',
                'gradient_maps': '',
                'maps': 'scaling',
                'overlay': '',
                'token_maps': '',
            },
            'localizing': {
                'boxes': '',
                'cam_boxes': 'guesses',
                'component_tree': '',
                'errors': '',
                'localization': 'protocol',
                'map_boxes': '',
                'pixel_metrics': '',
                'regions': '',
            },
            # erasing itself is a room now: its __init__ has the names of the old module.
            'erasing': {'feature_erasing': '', 'image_erasing': '', 'spg': 'self_guidance'},
            'seeding': {'seed_curve': '', 'seeds': ''},
            'refining': {
                'affinity': '',
                'dense_crf': '',
                'permutohedral': '',
                'pixel_adaptive': '',
                'random_walk': '',
                'region_growing': '',
            },
        }.items()
        for old, new in names.items()
    }
    | {'shapes': 'mmentropy.datasets.drawn.shapes'},
)
