# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""From seeds to masks: dense CRF, random walk, pixel-adaptive refinement, region growing."""
