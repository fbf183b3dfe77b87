# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""Before training: unpack, check, split, export."""
