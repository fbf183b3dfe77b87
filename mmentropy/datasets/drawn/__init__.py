# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""PartShapes: the built-in drawn images."""
