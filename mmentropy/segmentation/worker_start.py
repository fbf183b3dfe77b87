# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Imported by the server that worker processes are forked from, and by nothing else: its workers end with it."""

from __future__ import annotations

import mmentropy.segmentation  # noqa: F401  imported once, for all workers
from mmentropy.processes import children_die_with_us

children_die_with_us()
